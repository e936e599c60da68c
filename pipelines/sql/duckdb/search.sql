-- Search by words: SELECT * FROM search_captions('red house');
--
-- Images whose caption has all of the words, in any order, best score first. DuckDB's extension for
-- full text search would add ranks and stems; this needs no extension.

CREATE OR REPLACE MACRO words_of(text) AS
    list_filter(string_split_regex(lower(text), '[^\p{L}\p{N}]+'), lambda word: word <> '');

CREATE OR REPLACE MACRO search_captions(words) AS TABLE
SELECT root, uri, caption, score
FROM current_captions
WHERE list_has_all(words_of(caption), words_of(words))
ORDER BY score DESC, root, uri;
