-- What is said of whom a promotion is open to, by functions and by plain SQL alike, once for each statement.
SET search_path = customer_groups;
BEGIN;
SET LOCAL client_min_messages = warning;
INSERT INTO groups (code, name) VALUES ('b2b', 'Business'), ('club', 'Club');
INSERT INTO segments (code, name, rule) VALUES ('vip', 'VIP', 'visits >= 10'), ('new', 'New', 'visits < 2');
INSERT INTO promotions (code, name, kind, value, groups_only)
SELECT format('%s-%s', CASE WHEN only_groups THEN 'only' ELSE 'open' END, i), 'Promotion', 'percent', 10, only_groups
FROM unnest(ARRAY[false, true]) AS o (only_groups), generate_series(1, 3) AS i;
SET LOCAL client_min_messages = notice;

-- Attached to a group.
SELECT attach_promotion('b2b', 'open-1');
SELECT attach_promotion('b2b', 'open-1');
SELECT attach_promotion('b2b', 'only-1');
SELECT attach_promotions('club', '{open-1, only-1, open-2, only-2}');
INSERT INTO promotion_groups (promotion_id, group_id)
SELECT p.id, g.id FROM promotions p, groups g WHERE p.code = 'open-3';
DELETE FROM promotion_groups WHERE promotion_id = (SELECT id FROM promotions WHERE code = 'open-3') AND group_id = (SELECT id FROM groups WHERE code = 'club');
UPDATE promotion_groups SET group_id = group_id;
UPDATE promotion_groups SET group_id = (SELECT id FROM groups WHERE code = 'club')
WHERE promotion_id = (SELECT id FROM promotions WHERE code = 'open-3');

-- One with a segment is not open to everybody, until it is detached from the last one.
INSERT INTO promotion_segments (promotion_id, segment_id)
SELECT p.id, s.id FROM promotions p, segments s WHERE p.code LIKE 'o%-1' OR p.code = 'open-2';
SELECT detach_promotions('b2b', '{open-1, only-1}');
SELECT attach_promotion('b2b', 'open-1');
DELETE FROM promotion_segments WHERE segment_id = (SELECT id FROM segments WHERE code = 'vip');
UPDATE promotion_segments SET promotion_id = (SELECT id FROM promotions WHERE code = 'only-3')
WHERE promotion_id = (SELECT id FROM promotions WHERE code = 'open-2');
DELETE FROM promotion_segments;

-- Open to nobody.
SELECT detach_promotions('club', '{only-1, only-2, only-3}');
SELECT attach_promotion('b2b', 'only-1');
SELECT delete_group('b2b');
SELECT set_group_discount('club', 'amount', 1) AS made \gset
UPDATE promotions SET code = 'own' WHERE code = :'made';
DELETE FROM groups;

-- A segment that goes with its promotion is not detached from it.
INSERT INTO promotion_segments (promotion_id, segment_id)
SELECT p.id, s.id FROM promotions p, segments s WHERE p.code = 'open-1' AND s.code = 'vip';
DELETE FROM promotions WHERE code = 'open-1';

-- What is no longer named: the whole assortment, every store.
SET LOCAL client_min_messages = warning;
INSERT INTO items (name, price) VALUES ('Cup', 3), ('Can', 4);
INSERT INTO brands (code, name) VALUES ('acme', 'Acme');
INSERT INTO categories (code, name) VALUES ('cups', 'Cups');
INSERT INTO stores (code, name) VALUES ('one', 'One'), ('two', 'Two');
INSERT INTO promotion_items SELECT p.id, i.id FROM promotions p, items i WHERE p.code IN ('open-2', 'open-3', 'only-3');
INSERT INTO promotion_brands SELECT p.id, b.id FROM promotions p, brands b WHERE p.code = 'open-2';
INSERT INTO promotion_categories SELECT p.id, c.id FROM promotions p, categories c WHERE p.code = 'only-2';
INSERT INTO promotion_stores SELECT p.id, s.id FROM promotions p, stores s WHERE p.code = 'open-2' OR p.code = 'open-3' AND s.code = 'one';
INSERT INTO promotion_segments SELECT p.id, s.id FROM promotions p, segments s WHERE p.code IN ('open-2', 'only-2') AND s.code = 'vip';
SET LOCAL client_min_messages = notice;
DELETE FROM promotion_items WHERE item_id = (SELECT min(id) FROM items);
DELETE FROM promotion_items WHERE promotion_id = (SELECT id FROM promotions WHERE code = 'only-3');
TRUNCATE promotion_items;
UPDATE promotion_brands SET promotion_id = (SELECT id FROM promotions WHERE code = 'open-3');
TRUNCATE promotion_brands, promotion_categories;
DELETE FROM promotion_stores WHERE store_id = (SELECT id FROM stores WHERE code = 'one');
TRUNCATE promotion_stores;
TRUNCATE promotion_segments;

-- For groups only, and never back.
UPDATE promotions SET groups_only = true WHERE code LIKE 'open-%';
UPDATE promotions SET groups_only = true WHERE code LIKE 'open-%';
SAVEPOINT s;
UPDATE promotions SET groups_only = false WHERE code = 'open-2';
ROLLBACK TO s;

-- Restored rows.
SET LOCAL client_min_messages = warning;
INSERT INTO groups (code, name) VALUES ('old', 'Old');
INSERT INTO promotions (code, name, kind, value) VALUES ('open-9', 'Promotion', 'percent', 10);
SET LOCAL client_min_messages = notice;
INSERT INTO promotion_groups (promotion_id, group_id, recorded_at)
SELECT p.id, g.id, '2020-01-01' FROM promotions p, groups g WHERE p.code = 'open-9' AND g.code = 'old';
ROLLBACK;
