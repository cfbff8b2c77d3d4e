# shellcheck shell=bash
# The parts of script/bench that put a load on the server: many clients, many sales; sourced by it.
# shellcheck disable=SC2154

# sales_at_once TABLE CLIENTS AMOUNT SEED: sales in a second. What the clients wait for goes to $work/waits.TABLE.
sales_at_once()
{
	local sampler tps
	psql -X -q -A -t -d postgres -f "$bench/waits.sql" >>"$work/waits.$1" 2>/dev/null &
	sampler=$!
	tps=$(pgbench_tps sale.sql sales="$1" "$2" "$3" "$4") || exit 1
	kill "$sampler"
	wait "$sampler" 2>/dev/null
	echo "$tps"
}

# waiting FOR: the share of our clients' samples that wait for "a row" (a lock that a transaction holds), for
# "the log", for "the rest" (pages, the lock manager) or for "nothing", and that of the plain table's.
waiting()
{
	local table
	for table in customer_groups.sales bench.plain_sales; do
		awk -v wanted="$1" '
			/./ {
				all++
				reason = /^at work/ ? "nothing" : /^Lock:/ ? "a row" : /WAL/ ? "the log" : "the rest"
				some += reason == wanted
			}
			END { printf "%s ", all ? 100 * some / all : 0 }' "$work/waits.$table"
	done
	echo
}

# The log is flushed for real here.
measure_concurrency()
{
	local i clients commit reason amount

	# Seconds, or very few sales in a shop that is there to try the script.
	amount=$(awk -v s="$scale" 'BEGIN { print s < 0.02 ? 160 : s < 0.2 ? "5s" : "10s" }')
	make_shop "$each"
	change_settings fsync=on autovacuum=on
	for commit in off on; do
		for clients in 1 4 16; do
			: >"$work/waits.customer_groups.sales"
			: >"$work/waits.bench.plain_sales"
			for ((i = 0; i < (rounds + 1) / 2; i++)); do
				echo "$(sales_at_once customer_groups.sales "$clients" "$amount" "$i")" \
					"$(sales_at_once bench.plain_sales "$clients" "$amount" "$i")"
			done | row "sales of $(counted "$clients" clients), synchronous_commit $commit / plain table" '/s' ''
		done
		for reason in nothing 'a row' 'the log' 'the rest'; do
			waiting "$reason" | row "16 clients, synchronous_commit $commit: waiting for $reason" % ''
		done
		sort "$work/waits.customer_groups.sales" | uniq -c | sort -rn | head -n 8
	done
	reset_settings
	drop shop
}

# log_of TABLE SALES SEED: bytes of log for one sale.
log_of()
{
	local start
	start=$(psql -X -q -A -t -c 'SELECT pg_current_wal_insert_lsn()')
	pgbench_tps sale.sql sales="$1" 1 "$2" "$3" >/dev/null
	psql -X -q -A -t -c "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$start') / $2"
}

measure_bloat()
{
	local i start table heap heap_rewritten indexes indexes_rewritten dead hot vacuums tps

	make_shop 1
	# The load has changed every customer's facts in one statement; what follows is of single sales only.
	psql -X -q -o /dev/null -d bench_shop -c 'VACUUM FULL customer_groups.customer_facts' \
		-c "SELECT pg_stat_reset_single_table_counters('customer_groups.customer_facts'::regclass)" \
		-c 'VACUUM ANALYZE customer_groups.customer_facts' || die "the facts could not be rewritten"
	change_settings full_page_writes=off
	for ((i = 0; i < (rounds + 1) / 2; i++)); do
		echo "$(log_of customer_groups.sales "$(calls 20000)" "$i")" "$(log_of bench.plain_sales "$(calls 20000)" "$i")"
	done | row 'log for a sale, without full pages / plain insert' B ''
	reset_settings

	# As a server is usually configured.
	change_settings autovacuum=on checkpoint_timeout=5min max_wal_size=4GB
	say "inserting $sales sales, one by one, by two clients"
	start=$(psql -X -q -A -t -c 'SELECT pg_current_wal_insert_lsn()')
	tps=$(pgbench_tps sale.sql sales=customer_groups.sales 2 "$sales" 1)
	echo "$tps" | row "sales of 2 clients over $(with_commas "$sales") sales, autovacuum on" /s ''
	psql -X -q -A -t -c "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '$start') / $sales" |
		row 'log for a sale over these, with full pages' B ''
	while [ "$(psql -X -q -A -t -c "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'autovacuum worker'")" != 0 ]; do
		sleep 1
	done
	reset_settings

	read -r dead hot vacuums <<<"$(sql shop dead.sql)"
	echo "$dead" | row 'dead rows of customer_facts' % ''
	echo "$hot" | row 'updates of customer_facts in place (HOT)' % ''
	echo "$vacuums" | row 'autovacuums of customer_facts' times ''
	sql shop sizes_of_tables.sql >"$work/sizes"
	while read -r table heap heap_rewritten indexes indexes_rewritten; do
		echo "$heap $heap_rewritten" | row "$table / rewritten" MB '' 1048576
		echo "$indexes $indexes_rewritten" | row "$table, its indexes / rewritten" MB '' 1048576
	done <"$work/sizes"
	drop shop
}
