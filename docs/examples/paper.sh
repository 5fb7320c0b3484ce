python recipes/cifar10.py                  # HaDis
python recipes/cifar10.py method=propos
python recipes/cifar10.py method=byol
