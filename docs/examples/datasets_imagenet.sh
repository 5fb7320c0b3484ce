python recipes/imagenet10.py data.path=my_imagenet
python recipes/imagenet_dogs.py data.path=my_imagenet
python recipes/imagenet_dogs.py data.path=my_imagenet data.on_error=skip
