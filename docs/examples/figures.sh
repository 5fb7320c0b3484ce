hadis-lightly-figures run=runs/photos out=figures/
