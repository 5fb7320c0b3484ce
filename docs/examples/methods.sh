python recipes/cifar10.py                 # HaDis
python recipes/cifar10.py method=propos
python recipes/cifar10.py method=byol
python recipes/cifar10.py method=cc
python recipes/cifar10.py method=pici
