-- Where colours change in each work, in 16 x 16 cells: proposes which works may be one picture. With the work it goes.
ALTER TABLE work ADD COLUMN outline BLOB;  -- 256 bytes; NULL until the work is compared, empty without a thumbnail
