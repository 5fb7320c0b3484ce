python docs/examples/save_torchvision_weights.py resnet18 resnet18.pth
hadis-lightly-train data.path=my_photos n_clusters=12 model.weights=resnet18.pth
