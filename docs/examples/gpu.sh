make test-all      # the tests marked gpu run where there is one
make bench         # every benchmark chooses the GPU and CIFAR-10's settings by itself
python recipes/cifar10_short.py       # 200 epochs, with a schedule for as few
python recipes/cifar10_fast.py        # 60 epochs of eight views, six of them small
