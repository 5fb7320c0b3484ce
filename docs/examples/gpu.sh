make test-all      # the tests marked gpu run where there is one
make bench         # every benchmark chooses the GPU and CIFAR-10's settings by itself
python recipes/cifar10.py trainer.max_epochs=200
