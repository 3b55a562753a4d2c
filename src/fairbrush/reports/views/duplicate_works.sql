-- Files that are a work of more than one artist entry, those of several creators first: whose is it?
CREATE OR REPLACE VIEW duplicate_works AS
SELECT
    count(DISTINCT artist.creator_id) = 1 AS same_creator,
    string_agg(coalesce(artist.name, '(erased)'), ', ' ORDER BY artist.name, work.artist_id) AS artists,
    count(DISTINCT artist.creator_id) AS creators,
    min(work.path) AS path,
    min(work.added) AS first_added,
    max(work.added) AS last_added,
    string_agg(work.artist_id, ', ' ORDER BY artist.name, work.artist_id) AS artist_ids,
    work.sha256
FROM work
JOIN artist USING (artist_id)
GROUP BY work.sha256
HAVING count(*) > 1
ORDER BY same_creator, path, work.sha256;
