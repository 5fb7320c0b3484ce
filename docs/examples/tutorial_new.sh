hadis-lightly-predict checkpoint=runs/photos data.path=new_photos names=names.json out=new.csv
hadis-lightly-predict checkpoint=runs/photos data.path=new_photos sort_into=sorted out=sorted.csv
hadis-lightly-export checkpoint=runs/photos to=imagefolder names=names.json
hadis-lightly-export checkpoint=runs/photos out=model.onnx
