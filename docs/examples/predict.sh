hadis-lightly-predict checkpoint=runs/photos data.path=new_photos out=new.csv
hadis-lightly-predict checkpoint=runs/photos data.path=new_photos sort_into=sorted
hadis-lightly-predict checkpoint=runs/photos data.path=new_photos sort_into=copies \
    sort_by=copy device=cpu batch_size=64
hadis-lightly-predict checkpoint=runs/photos data.path=new_photos embeddings=new.npy
hadis-lightly-predict checkpoint=runs/photos data.path=new_photos level=2
