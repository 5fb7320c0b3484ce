python recipes/cifar10.py                                         # HaDis
python recipes/cifar10.py model.hsd_weight=0                      # ProPos
python recipes/cifar10.py model.hsd_weight=0 model.pcl_weight=0   # BYOL
