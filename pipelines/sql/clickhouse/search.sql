-- Search by words: SELECT * FROM search_captions(words = 'red house');
--
-- Images whose caption has all of the words, in any order, best score first. `caption` has null where
-- there is none, and the token functions want a string.

CREATE OR REPLACE VIEW search_captions AS
SELECT root, uri, caption, score
FROM current_captions
WHERE hasAll(
    splitByNonAlpha(lowerUTF8(ifNull(caption, ''))),
    arrayFilter(word -> word != '', splitByNonAlpha(lowerUTF8({words:String})))
)
    AND caption IS NOT NULL
ORDER BY score DESC, root, uri;
