hadis-lightly-report checkpoint=runs/photos out=report/
