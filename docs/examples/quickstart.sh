hadis-lightly-train data.path=my_photos n_clusters=12 output_dir=runs/photos
hadis-lightly-report checkpoint=runs/photos out=report/
hadis-lightly-predict checkpoint=runs/photos data.path=new_photos
