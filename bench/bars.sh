# shellcheck shell=bash
# The parts of script/bench that have bars; sourced by it.
# shellcheck disable=SC2154

measure_prices()
{
	local i
	make_database prices 100 1000 categories
	sql prices look_ups.sql rounds="$rounds" | row 'effective_discount / the four look-ups' us '<= 1.0'
	sql prices listing.sql rounds="$rounds" | row 'effective_discounts of 1,000 items / items and categories' ms '<= 2.0' 20
	sql prices peers/discount.sql
	sql prices by_hand.sql rounds="$rounds" | row 'effective_discount / function by hand (rate)' us '>= 20'
	for ((i = 0; i < rounds; i++)); do
		echo "$(pgbench_database=prices pgbench_us discount.sql discount=customer_groups.effective_discount 1 "$(calls 10000)" "$i")" \
			"$(pgbench_database=prices pgbench_us discount.sql discount=bench.discount_by_hand 1 "$(calls 1000)" "$i")"
	done | row 'effective_discount asked by a client / function by hand' us ''
	drop prices
}

# by_turns DATABASE DATABASE: effective_discount in the one and in the other.
by_turns()
{
	local i first second
	for ((i = 0; i < rounds; i++)); do
		if ((i % 2)); then
			first=$(sql "$1" discount.sql) second=$(sql "$2" discount.sql)
		else
			second=$(sql "$2" discount.sql) first=$(sql "$1" discount.sql)
		fi
		echo "$first $second"
	done
}

# with_commas NUMBER
with_commas()
{
	sed ':a; s/\([0-9]\)\([0-9]\{3\}\)\($\|,\)/\1,\2\3/; ta' <<<"$1"
}

# counted NUMBER WORDS: "1,000 promotions", "1 promotion"
counted()
{
	if [ "$1" = 1 ]; then echo "1 ${2%s}"; else echo "$(with_commas "$1") $2"; fi
}

measure_promotions()
{
	local most=${promotion_counts[-1]} many
	many=$(with_commas "$most")
	make_database few 100 100 categories
	make_database many 100 "$most" categories
	by_turns many few | row "effective_discount, $many promotions / 100" us '<= 1.3'
	sql many edit.sql | row "first call after one of $many was edited" ms '<= 50'
	sql many memory.sql | row "memory of a backend with $many promotions" MB '<= 64'
	drop few many
}

measure_groups()
{
	local most=$((promotion_counts[-1] < 10000 ? promotion_counts[-1] : 10000))
	make_database few 100 100 everything
	make_database many "$most" "$most" everything
	by_turns many few | row "effective_discount, $(with_commas "$most") groups on everything / 100" us '<= 1.3'
	drop few many
}

measure_sales()
{
	local i peer transactions
	local turns=(customer_groups.sales bench.plain_sales bench.own_sales one_update)
	declare -A time

	transactions=$(calls 20000)
	make_shop
	sql shop peers/own_sales.sql
	sql shop peers/one_update.sql
	sql shop prewarm.sql
	for ((i = 0; i < rounds; i++)); do
		for peer in "${turns[@]}"; do
			case $peer in
				one_update) time[$peer]=$(pgbench_us one_update.sql _=_ 1 "$transactions" "$i") ;;
				*) time[$peer]=$(pgbench_us sale.sql sales="$peer" 1 "$transactions" "$i") ;;
			esac
		done
		turns=("${turns[@]:1}" "${turns[0]}")
		echo "${time[customer_groups.sales]} ${time[bench.plain_sales]} ${time[bench.own_sales]} ${time[one_update]}"
	done >"$work/inserts"
	sql shop same_facts.sql
	cut -d ' ' -f 1,2 "$work/inserts" | row 'one sale, 5 tiers, 10 segments / plain insert (rate)' us '>= 0.5'
	awk '{ print $1 - $2, $3 - $2 }' "$work/inserts" | row 'what it adds / what a trigger by hand adds' us '<= 0.33'
	cut -d ' ' -f 1,4 "$work/inserts" | row 'one sale / plain insert and one update' us ''

	sql shop sales_file.sql file="$files/sales" customers="$(scaled 200000)" first=1 last="$(scaled 1000000)" total="$(scaled 1000000)"
	for ((i = 0; i < (rounds + 1) / 2; i++)); do
		echo "$(sql shop copy.sql sales=customer_groups.sales file="$files/sales")" \
			"$(sql shop copy.sql sales=bench.plain_sales file="$files/sales")"
	done | row "COPY of $(with_commas "$(scaled 1000000)") sales / plain table" s '<= 2.0' 1000

	# Plans that were made for tables without lines are not what a shop has.
	pgbench_us record_sale.sql _=_ 1 "$(calls 5000)" 0 >/dev/null
	psql -X -q -d bench_shop -c 'VACUUM ANALYZE'
	for ((i = 1; i <= rounds; i++)); do
		pgbench_us record_sale.sql _=_ 1 "$(calls 5000)" "$i"
	done | row 'record_sale of three lines' us ''
}

measure_members()
{
	local i
	wanted sales || make_database shop 100 1000 categories
	for ((i = 0; i < (rounds + 1) / 2; i++)); do
		sql shop add_members.sql customers="$(scaled 100000)"
	done | row "add_members of $(with_commas "$(scaled 100000)") customers" s '' 1000
	drop shop
}

measure_segments()
{
	make_database segments 100 100 categories
	sql segments visits.sql
	sql segments labels.sql rounds="$rounds" | row 'labels_of 1,000 customers, 10 segments / their facts' ms '<= 2.0' 20
	sql segments segments_of.sql rounds="$rounds" | row 'segments_of, 10 segments / look-up of the facts' us '<= 4.0'
	sql segments size.sql visits=1 rounds="$rounds" | row 'segment_size / count by hand' ms '<= 1.1'
	sql segments sizes.sql rounds="$rounds" | row 'segment_sizes of 10 / ten counts by hand' ms '<= 1.1'
	sql segments advance.sql days=7 | row 'advance_segments by a day / evaluating everybody' s '<= 0.05' 1000
	drop segments
}
