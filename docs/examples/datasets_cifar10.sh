python recipes/cifar10.py                                             # downloads 170 MB
python recipes/cifar10.py data.path=my_cifar10 data.download=false
