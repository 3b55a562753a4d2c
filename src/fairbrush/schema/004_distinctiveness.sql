-- Whether each artist of an index version can be told apart, as measured when the version was published.

CREATE TABLE artist_distinctiveness (
    manifest_digest TEXT NOT NULL,
    artist_id TEXT NOT NULL,
    verdict TEXT NOT NULL,
    works INTEGER NOT NULL,                    -- of all entries of the creator; below 5 the rest is NULL
    recognisability DOUBLE,
    margin DOUBLE,                             -- NULL too where nobody else is indexed
    nearest_artist_id TEXT,                    -- NULL too once that artist is erased
    look_alikes DOUBLE,
    home INTEGER,
    credited INTEGER,
    PRIMARY KEY (manifest_digest, artist_id)
);
