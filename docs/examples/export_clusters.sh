hadis-lightly-export checkpoint=runs/photos to=fiftyone
hadis-lightly-export checkpoint=runs/photos to=label-studio
hadis-lightly-export checkpoint=runs/photos to=imagefolder
hadis-lightly-export checkpoint=runs/photos to=tensorboard
hadis-lightly-export checkpoint=runs/photos to=parquet
