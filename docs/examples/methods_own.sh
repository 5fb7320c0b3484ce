python recipes/cifar10.py method=cc model.backbone=resnet34 views.input_size=224
python recipes/stl10.py method=cc data.unlabelled=true
