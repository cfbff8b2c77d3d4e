-- What the owner alters under C code is refused with 55000, before a null or another type is read.
BEGIN;
SELECT plan(14);

CREATE FUNCTION pg_temp.altered(change text, question text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE change;
    EXECUTE question;
    RETURN 'answered';
EXCEPTION WHEN object_not_in_prerequisite_state THEN
    RETURN 'refused';
END
$$;

INSERT INTO customer_groups.groups (id, code, name) VALUES (900001, 'altered', 'Altered');
INSERT INTO customer_groups.customers (id, name) VALUES (900001, 'Ana');
INSERT INTO customer_groups.items (id, external_id, name, price) VALUES (900001, 'altered', 'Item', 10);
INSERT INTO customer_groups.sales (customer_id, id, amount) VALUES (900001, 900001, 5);
INSERT INTO customer_groups.sale_lines (customer_id, sale_id, line_no, item_id, quantity, unit_price)
VALUES (900001, 900001, 1, 900001, 1, 5);
INSERT INTO customer_groups.segments (code, name, rule) VALUES ('altered', 'Altered', 'visits >= 1');

SELECT is((SELECT code FROM customer_groups.segments_of(900001) WHERE code = 'altered'), 'altered', 'a segment is answered');
SELECT is(pg_temp.altered(change, question), 'refused', change)
FROM (VALUES
    ('ALTER TABLE customer_groups.segments ALTER name DROP NOT NULL',
     'SELECT customer_groups.segments_of(900001)'),
    ('ALTER TABLE customer_groups.segments ALTER rule DROP NOT NULL',
     'SELECT customer_groups.segments_of(900001)'),
    ('ALTER TABLE customer_groups.segments RENAME color TO hue; ALTER TABLE customer_groups.segments ADD color int NOT NULL DEFAULT 7',
     'SELECT customer_groups.segments_of(900001)'),
    ('ALTER TABLE customer_groups.segments ALTER show_label DROP DEFAULT, ALTER show_label TYPE text',
     'SELECT customer_groups.segments_of(900001)'),
    ('ALTER TABLE customer_groups.groups ALTER code DROP NOT NULL',
     'SELECT customer_groups.segments_of(900001)'),
    ('ALTER TABLE customer_groups.brands ALTER code DROP NOT NULL',
     'SELECT customer_groups.segments_of(900001)'),
    ('ALTER TABLE customer_groups.categories ALTER code DROP NOT NULL',
     'SELECT customer_groups.effective_discount(900001, 900001)'),
    ('ALTER TABLE customer_groups.customer_facts ALTER net_sales DROP NOT NULL',
     'INSERT INTO customer_groups.sales (customer_id, amount) VALUES (900001, 1)'),
    ('ALTER TABLE customer_groups.sale_lines ALTER quantity DROP NOT NULL',
     'SELECT customer_groups.matches(900001, ''bought ITEM ''''altered'''' >= 1'')'),
    ('ALTER TABLE customer_groups.customers ALTER attributes DROP NOT NULL',
     'SELECT customer_groups.matches(900001, ''attribute ''''a'''' = 1'')'),
    ('ALTER TABLE customer_groups.members ALTER source DROP NOT NULL',
     'INSERT INTO customer_groups.members (customer_id, group_id, source) VALUES (900001, 900001, NULL)')
) AS c (change, question);
SELECT is((SELECT code FROM customer_groups.segments_of(900001) WHERE code = 'altered'), 'altered', 'undone, it is answered again');

SELECT throws_ok(
    $t$DO $x$ BEGIN
        CREATE TRIGGER wrong AFTER INSERT ON customer_groups.groups
            FOR EACH ROW EXECUTE FUNCTION customer_groups.rename_in_rules('group');
        INSERT INTO customer_groups.groups (code, name) VALUES ('wrong', 'Wrong');
    END $x$ $t$,
    '39P01', NULL, 'a trigger function on an event that is not its own is refused');

SELECT * FROM finish();
ROLLBACK;
