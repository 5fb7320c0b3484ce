python recipes/stl10.py trainer.max_steps=20 data.limit=2000          # a few steps
python recipes/stl10.py model.backbone=resnet18                       # another network
python recipes/stl10.py views.input_size=48                           # smaller views
