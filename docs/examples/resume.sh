python recipes/cifar10.py output_dir=runs/mine trainer.resume=auto
