python recipes/cifar20.py                                             # downloads 169 MB
python recipes/cifar20.py data.path=my_cifar100 data.download=false
