-- What goes with a group that is deleted, by whatever road.

CREATE FUNCTION customer_groups.leave_group() RETURNS trigger
	LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
	AS $$
BEGIN
	-- Now, while the group's code and name can still be written into the events;
	-- customers first and in their order, as everywhere.
	PERFORM customer_groups.lock_customers(ARRAY(
		SELECT m.customer_id FROM customer_groups.members m WHERE m.group_id = OLD.id));
	DELETE FROM customer_groups.members m WHERE m.group_id = OLD.id;
	DELETE FROM customer_groups.promotion_groups a WHERE a.group_id = OLD.id;
	DELETE FROM customer_groups.group_store_pricing p WHERE p.group_id = OLD.id;
	RETURN OLD;
END
$$;
COMMENT ON FUNCTION customer_groups.leave_group() IS 'Trigger: members and attachments go with their group, and are written into the event log.';
CREATE TRIGGER leave_group BEFORE DELETE ON customer_groups.groups
	FOR EACH ROW EXECUTE FUNCTION customer_groups.leave_group();
