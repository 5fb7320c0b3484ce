python recipes/cifar10.py trainer.devices=4 trainer.strategy=ddp \
    trainer.sync_batchnorm=true trainer.gather_distributed=true
torchrun --nproc-per-node 4 recipes/cifar10.py trainer.devices=4 trainer.strategy=ddp
