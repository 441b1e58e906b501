"""Every row gets its value: what migrate and rehearsebackfill both do."""
