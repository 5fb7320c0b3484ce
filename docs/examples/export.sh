hadis-lightly-export checkpoint=runs/photos out=model.onnx
hadis-lightly-export checkpoint=runs/photos out=model.pt2
hadis-lightly-predict checkpoint=model.onnx data.path=new_photos out=onnx.csv
