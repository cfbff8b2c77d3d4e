-- find_groups: code, name and description, whatever the case and the form of the letters, % and _ literally.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();

INSERT INTO customer_groups.groups (code, name, description, contact_name) VALUES
    ('b2b', 'Wholesale', 'Firms that buy in bulk', 'Zoe'),
    ('cafe', U&'Caf\00E9 owners', NULL, NULL),             -- one letter
    ('resume', U&'Re\0301sume\0301', NULL, NULL),          -- letter and accent
    ('off', '100% off_season', NULL, NULL),
    ('offx', '100 off-season', NULL, NULL),
    ('korea', U&'\B2E8\ACE8 \C190\B2D8', 'regular guests', NULL),
    ('tr1', U&'\0130stanbul', NULL, NULL),                 -- capital I with a dot
    ('tr2', 'ISPARTA', NULL, NULL),
    ('tr3', U&'D\0131\015Far\0131', NULL, NULL),           -- small i without a dot
    ('de', U&'STRA\1E9EE', NULL, NULL),
    ('el', U&'\0391\0398\0397\039D\0391', NULL, NULL),
    ('back', E'a\\b', NULL, NULL),
    ('quote', 'the "A" list''s', NULL, NULL);

SELECT is(
    (SELECT array_to_string(array_agg(code ORDER BY code COLLATE "C"), ' ') FROM customer_groups.find_groups(keyword)),
    found, name)
FROM (VALUES
    ('b2b', 'b2b', 'by code'),
    ('B2B', 'b2b', 'by code in capitals'),
    ('whole', 'b2b', 'by a part of the name'),
    ('BULK', 'b2b', 'by the description'),
    ('buy in bulk', 'b2b', 'by several words of it'),
    ('zoe', NULL, 'who looks after it is not searched'),
    ('nothing like it', NULL, 'nothing found'),
    (U&'CAF\00C9', 'cafe', 'a capital accent for a small one'),
    (U&'cafe\0301', 'cafe', 'an accent of its own for one letter'),
    (U&'r\00E9sum\00E9', 'resume', 'one letter for an accent of its own'),
    (U&'RE\0301', 'resume', 'in capitals too'),
    ('cafe', 'cafe', 'the code has no accent'),
    ('resum', 'resume', 'which the name has, and the code not'),
    ('sume owners', NULL, 'an accent is not nothing'),
    ('%', 'off', '% is a letter'),
    ('0% o', 'off', 'within a word too'),
    ('_', 'off', '_ is a letter'),
    ('100_', NULL, 'and not any letter'),
    (U&'\B2E8\ACE8', 'korea', 'Korean'),
    (U&'\1103\1161\11AB\1100\1169\11AF', 'korea', 'Korean in single letters'),
    (U&'\B2E4', NULL, 'a syllable is not part of another one'),
    (U&'\0130STANBUL', 'tr1', 'I with a dot'),
    ('stanbul', 'tr1', 'what follows it'),
    ('isparta', 'tr2', 'I and i are one letter'),
    (U&'\0131sparta', NULL, 'i without a dot is another'),
    (U&'d\0131\015E', 'tr3', 'which is found as it is'),
    (U&'stra\00DFe', 'de', 'capital sharp s'),
    (U&'\03B1\03B8\03AE', NULL, 'Greek with another accent'),
    (U&'\03B1\03B8\03B7\03BD\03B1', 'el', 'Greek'),
    (E'\\', 'back', 'a backslash'),
    ('"a"', 'quote', 'a quotation mark'),
    ('t''s', 'quote', 'an apostrophe'),
    ('wholesale' || chr(10), NULL, 'one field at a time')
) AS c (keyword, found, name);

SELECT is((SELECT count(*)::int FROM customer_groups.find_groups('')), 13, 'an empty keyword finds all');
SELECT is((SELECT count(*)::int FROM customer_groups.find_groups(NULL)), 13, 'so does a null one');
SELECT results_eq($$ SELECT code FROM customer_groups.find_groups('off') $$, $$ VALUES ('off'), ('offx') $$,
    'in the order of the codes');
SELECT results_eq($$ SELECT * FROM customer_groups.find_groups('b2b') $$,
    $$ SELECT * FROM customer_groups.groups WHERE code = 'b2b' $$, 'the whole row');

SELECT * FROM finish();
ROLLBACK;
