-- One question for a discount. Variables: discount, the function; customers and items, how many.
\set rank random_exponential(0, :customers - 1, 5.0)
\set customer 1 + (:rank * 7919) % :customers
\set rank random_exponential(0, :items - 1, 5.0)
\set item 1 + (:rank * 7919) % :items
SELECT :discount(:customer, :item);
