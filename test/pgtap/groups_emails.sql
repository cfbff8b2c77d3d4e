-- add_members_by_email: a pasted list, one answer for each entry, in order.
BEGIN;
SET LOCAL client_min_messages = warning;
SELECT no_plan();
\ir groups_refused.psql

INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'b2b', 'Business'), (900002, 'club', 'Club');
INSERT INTO customer_groups.customers (id, email) VALUES
    (900001, 'ann@example.com'), (900002, 'Bob@Example.COM'), (900003, 'cem+shop@mail.example.org'),
    (900004, 'twin@example.com'), (900005, 'TWIN@example.com'), (900006, '  padded@example.com '),
    (900007, 'expired@example.com'), (900008, 'member@example.com'), (900009, 'later@example.com'),
    (900010, U&'j\00FCrgen@example.com'), (900011, U&'\B2E8\ACE8@example.com'), (900012, 'o''neil@example.com');
INSERT INTO customer_groups.members (customer_id, group_id, valid_from, valid_until, added_at) VALUES
    (900007, 900001, current_date - 400, current_date - 300, now() - interval '400 days'),
    (900008, 900001, NULL, current_date + 300, now() - interval '400 days'),
    (900009, 900001, current_date + 300, NULL, now() - interval '400 days');

-- One line for each answer.
CREATE FUNCTION pg_temp.answers(emails text, code text DEFAULT 'b2b') RETURNS text
    LANGUAGE sql AS $$
    SELECT string_agg(format('%s|%s|%s', a.email, a.customer_id, a.outcome), E'\n' ORDER BY a.place)
    FROM customer_groups.add_members_by_email(code, emails) WITH ORDINALITY AS a (email, customer_id, outcome, place)
$$;

-- ---------------------------------------------------------------------------------------------------------------
-- Outcomes
-- ---------------------------------------------------------------------------------------------------------------

SELECT is(pg_temp.answers('ann@example.com, BOB@example.com; nobody@example.com
twin@example.com, expired@example.com,member@example.com,later@example.com;ann@, Ann Lee <ANN@Example.com>
nobody@example.com, twin@EXAMPLE.com, ann@, padded@example.com'),
'ann@example.com|900001|added
BOB@example.com|900002|added
nobody@example.com||not_found
twin@example.com||ambiguous
expired@example.com|900007|added
member@example.com|900008|already_member
later@example.com|900009|added
ann@||invalid
ANN@Example.com|900001|repeated
nobody@example.com||repeated
twin@EXAMPLE.com||repeated
ann@||invalid
padded@example.com|900006|added', 'each outcome, in the order given');
SELECT results_eq(
    $$ SELECT customer_id, source, valid_from IS NULL, valid_until - current_date FROM customer_groups.members ORDER BY 1 $$,
    $$ VALUES (900001::bigint, 'bulk', true, NULL::int), (900002, 'bulk', true, NULL), (900006, 'bulk', true, NULL),
        (900007, 'bulk', true, NULL), (900008, 'manual', true, 300), (900009, 'bulk', true, NULL) $$,
    'the good ones are members, who was one stays as it was');
SELECT is(pg_temp.answers('ann@example.com'), 'ann@example.com|900001|already_member', 'a second time');

-- ---------------------------------------------------------------------------------------------------------------
-- Forms of a list
-- ---------------------------------------------------------------------------------------------------------------

-- The answers for another group, into which nobody has come yet: places among "added", or the whole.
CREATE FUNCTION pg_temp.read_list(emails text) RETURNS text
    LANGUAGE plpgsql AS $$
DECLARE
    result text;
BEGIN
    SELECT string_agg(CASE WHEN a.outcome = 'added' THEN a.customer_id - 900000 || '' ELSE a.outcome || ':' || a.email END,
                      ' ' ORDER BY a.place)
    INTO result
    FROM customer_groups.add_members_by_email('club', emails) WITH ORDINALITY AS a (email, customer_id, outcome, place);
    DELETE FROM customer_groups.members WHERE group_id = 900002;
    RETURN result;
END
$$;

SELECT is(pg_temp.read_list(emails), answer, name)
FROM (VALUES
    ('', NULL, 'an empty list'),
    ('   ', NULL, 'blanks'),
    (E' , ;\n;,\r\n \t ', NULL, 'separators and blanks'),
    ('ann@example.com', '1', 'one'),
    ('ann@example.com,bob@example.com', '1 2', 'a comma'),
    ('ann@example.com;bob@example.com', '1 2', 'a semicolon'),
    (E'ann@example.com\nbob@example.com', '1 2', 'a line feed'),
    (E'ann@example.com\r\nbob@example.com\r\n', '1 2', 'carriage return and line feed'),
    (E'ann@example.com\rbob@example.com', '1 2', 'a carriage return'),
    (E'ann@example.com\u2028bob@example.com', '1 2', 'a line separator'),
    (E'ann@example.com\u2029bob@example.com', '1 2', 'a paragraph separator'),
    (E'ann@example.com\u0085bob@example.com', '1 2', 'a next line'),
    (E'ann@example.com\x0Bbob@example.com\x0C', '1 2', 'a vertical tab and a form feed'),
    (E',ann@example.com,,;bob@example.com;\n', '1 2', 'empty entries are none'),
    (E'  ann@example.com\t, \t bob@example.com  ', '1 2', 'blanks and tabs around'),
    (E'\u00A0ann@example.com\u00A0;\u00A0\u00A0bob@example.com', '1 2', 'no-break spaces around'),
    (E'\uFEFFann@example.com\n\u3000bob@example.com', '1 2', 'a byte order mark and an ideographic space'),
    (E'\u2003ann@example.com\u2009,\u202Fbob@example.com\u200B', '1 2', 'other spaces'),
    (E'\u00A0,ann@example.com,\u3000\u2003', '1', 'nothing but such spaces is no entry'),
    ('ANN@EXAMPLE.COM', '1', 'capitals'),
    ('bob@example.com', '2', 'capitals in the customer''s record'),
    (U&'J\00DCRGEN@EXAMPLE.COM', '10', 'capital accents'),
    (U&'ju\0308rgen@example.com', '10', 'accents of their own'),
    (U&'\1103\1161\11AB\1100\1169\11AF@example.com', '11', 'Korean in single letters'),
    ('cem+shop@mail.example.org', '3', 'a plus'),
    ('o''neil@example.com', '12', 'an apostrophe'),
    -- With names.
    ('Ann <ann@example.com>', '1', 'a name'),
    ('<ann@example.com>', '1', 'brackets alone'),
    ('Ann<ann@example.com>', '1', 'no blank before them'),
    ('Ann Lee < ann@example.com >', '1', 'blanks within them'),
    (E'Ann Lee\u00A0<\u00A0ann@example.com\u00A0>\u00A0', '1', 'no-break spaces within and behind them'),
    (E'Ann <ann@example.com>, Bob <bob@example.com>; Cem <cem+shop@mail.example.org>\nJ <o''neil@example.com>', '1 2 3 12', 'several'),
    ('"Lee, Ann" <ann@example.com>, bob@example.com', '1 2', 'a comma in a quoted name'),
    ('"Lee; Ann; PhD" <ann@example.com>; bob@example.com', '1 2', 'semicolons in a quoted name'),
    ('"Lee, Ann" <ann@example.com>,"Ray; Bob, B2B" <bob@example.com>', '1 2', 'two quoted names'),
    ('"ann@example.com, bob@example.com" <o''neil@example.com>', '12', 'addresses in a quoted name'),
    (E'5" screen <ann@example.com>\nbob@example.com, cem+shop@mail.example.org', '1 2 3', 'a quotation mark that is not closed on its line'),
    (E'"Lee, Ann\nbob@example.com', 'invalid:"Lee invalid:Ann 2', 'so that it spoils no other line'),
    ('Ann O''Neil <ann@example.com>', '1', 'an apostrophe in a name'),
    (U&'\B2E8\ACE8 <ann@example.com>', '1', 'a Korean name'),
    ('ann@example.com <bob@example.com>', '2', 'an address as a name'),
    -- Repeated.
    ('ann@example.com, ANN@example.com, Ann <ann@Example.com>', '1 repeated:ANN@example.com repeated:ann@Example.com', 'repeated in other forms'),
    (U&'j\00FCrgen@example.com; ju\0308rgen@example.com', U&'10 repeated:ju\0308rgen@example.com', 'repeated with another accent'),
    -- Not addresses.
    ('ann', 'invalid:ann', 'no @'),
    ('@example.com', 'invalid:@example.com', 'nothing before @'),
    ('ann@', 'invalid:ann@', 'nothing after @'),
    ('ann@bob@example.com', 'invalid:ann@bob@example.com', 'two @'),
    ('ann lee@example.com', 'invalid:ann lee@example.com', 'a blank in the name'),
    ('ann@exam ple.com', 'invalid:ann@exam ple.com', 'a blank in the domain'),
    (E'ann@exam\u00A0ple.com', 'invalid:ann@exam ple.com', 'a no-break space in the domain'),
    ('ann@.com', 'invalid:ann@.com', 'a domain that begins with a dot'),
    ('ann@example..com', 'invalid:ann@example..com', 'two dots'),
    ('ann@example.com.', 'invalid:ann@example.com.', 'a dot at the end'),
    ('ann@example.com>', 'invalid:ann@example.com>', 'a bracket that was not opened'),
    ('<ann@example.com', 'invalid:<ann@example.com', 'a bracket that is not closed'),
    ('Ann <>', 'invalid:', 'empty brackets'),
    ('Ann Lee', 'invalid:Ann Lee', 'a name alone'),
    ('ann@example.com bob@example.com', 'invalid:ann@example.com bob@example.com', 'two addresses without a separator'),
    ('a, ann@example.com, b', 'invalid:a 1 invalid:b', 'the good ones are added whatever the others are'),
    ('%@example.com', 'not_found:%@example.com', 'no wildcards'),
    ('_nn@example.com', 'not_found:_nn@example.com', 'of either kind')
) AS c (emails, answer, name);

SELECT pg_temp.refused($$ SELECT * FROM customer_groups.add_members_by_email('nope', 'ann@example.com') $$, '02000', '"nope"', 'an unknown group');
SELECT pg_temp.refused($$ SELECT * FROM customer_groups.add_members_by_email('nope', '') $$, '02000', '"nope"', 'for an empty list too');
SELECT pg_temp.refused($$ SELECT * FROM customer_groups.add_members_by_email(NULL, 'ann@example.com') $$, '22004', NULL, 'a null group');
SELECT pg_temp.refused($$ SELECT * FROM customer_groups.add_members_by_email('b2b', NULL) $$, '22004', NULL, 'a null list');

-- ---------------------------------------------------------------------------------------------------------------
-- Ten thousand
-- ---------------------------------------------------------------------------------------------------------------

INSERT INTO customer_groups.customers (id, email)
SELECT 910000 + i, format('c%s@example.net', i) FROM generate_series(1, 6000) AS i;
SELECT results_eq(
    $$
    SELECT a.outcome, count(*)::int, min(a.place)::int, max(a.place)::int
    FROM customer_groups.add_members_by_email('club',
        (SELECT string_agg(CASE WHEN i % 10 = 0 THEN format('"Name, %s" <c%s@example.net>', i, i)
                                WHEN i > 9000 THEN 'c' || i - 9000 || '@EXAMPLE.NET'
                                ELSE format('c%s@example.net', i) END, CASE WHEN i % 2 = 0 THEN E'\n' ELSE ', ' END ORDER BY i)
         FROM generate_series(1, 10000) AS i)) WITH ORDINALITY AS a (email, customer_id, outcome, place)
    GROUP BY 1 ORDER BY 1
    $$,
    $$ VALUES ('added', 6000, 1, 6000), ('not_found', 3100, 6001, 10000), ('repeated', 900, 9001, 9999) $$,
    'a list of ten thousand');
SELECT is((SELECT count(*)::int FROM customer_groups.members_of('club')), 6000, 'adds those that there are');
SELECT is((SELECT count(*)::int FROM customer_groups.add_members_by_email('b2b', repeat('no " address <', 10000))), 1,
    'a long line with open quotation marks is read');
SELECT is_empty('SELECT * FROM customer_groups.check_integrity()', 'all is well');

SELECT * FROM finish();
ROLLBACK;
