python recipes/stl10.py                                               # downloads 2.6 GB
python recipes/stl10.py data.path=my_stl10 data.download=false
python recipes/stl10.py data.unlabelled=true
