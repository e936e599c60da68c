-- Search by words: SELECT * FROM search_captions('red house -sea');
--
-- Full text search in English: house finds houses, "red house" in quotes finds the phrase, -sea leaves
-- out. The index holds old captions too; that a row is the current one is looked up by its key.

CREATE INDEX IF NOT EXISTS captions_words ON captions USING gin (to_tsvector('english', caption));

CREATE OR REPLACE FUNCTION search_captions(words text)
RETURNS TABLE (root text, uri text, caption text, score real)
LANGUAGE sql STABLE
AS $$
    SELECT found.root, found.uri, found.caption, found.score
    FROM captions AS found
    WHERE to_tsvector('english', found.caption) @@ websearch_to_tsquery('english', words)
        AND NOT EXISTS (
            SELECT 1
            FROM captions AS newer
            WHERE newer.root = found.root AND newer.uri = found.uri AND newer.run_id > found.run_id
        )
    ORDER BY
        ts_rank(to_tsvector('english', found.caption), websearch_to_tsquery('english', words)) DESC,
        found.score DESC,
        found.root,
        found.uri
$$;
