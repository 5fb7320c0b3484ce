hadis-lightly-train data.path=my_photos n_clusters=12 output_dir=runs/first
hadis-lightly-report checkpoint=runs/first out=report/  # name, mark, download names.json
hadis-lightly-train data.path=my_photos n_clusters=12 names=names.json \
    output_dir=runs/second
hadis-lightly-predict checkpoint=runs/second data.path=new_photos sort_into=sorted
