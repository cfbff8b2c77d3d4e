# shellcheck shell=bash
# The part of script/bench that shows how figures grow with the data; sourced by it. Each goes to the
# table and, for the charts, to growth.tsv.
# shellcheck disable=SC2154

# point BY NUMBER WHAT UNIT PEER [PER] reads lines as row does.
point()
{
	row "$3, $(counted "$2" "$1")" "$4" '' "${6:-1}"
	printf '%s\t%s\t%s\t%s\t%s\t%s\n' "$1" "$2" "$3" "$4" "$5" "$(tr ' ' '\t' <"$work/last_row")" >>"$work/growth.tsv"
}

# point_of_sale BY NUMBER: one sale and a plain insert, in the database shop.
point_of_sale()
{
	local i
	for ((i = 0; i < rounds; i++)); do
		echo "$(pgbench_us sale.sql sales=customer_groups.sales 1 "$(calls 10000)" "$i")" \
			"$(pgbench_us sale.sql sales=bench.plain_sales 1 "$(calls 10000)" "$i")"
	done | point "$1" "$2" 'one sale' us 'plain insert'
}

measure_growth()
{
	local n customers=$customers items=$items

	: >"$work/growth.tsv"
	for n in "${promotion_counts[@]}"; do
		make_database many 100 "$n" categories
		sql many peers/discount.sql
		sql many by_hand.sql rounds="$rounds" | point promotions "$n" effective_discount us 'function by hand'
		sql many listing.sql rounds="$rounds" | point promotions "$n" 'effective_discounts of 1,000 items' ms 'items and categories' 20
		drop many
	done

	for n in "${customer_counts[@]}"; do
		customers=$n
		make_shop "$each"
		sql shop peers/discount.sql
		sql shop by_hand.sql rounds="$rounds" | point customers "$n" effective_discount us 'function by hand'
		point_of_sale customers "$n"
		sql shop labels.sql rounds="$rounds" | point customers "$n" 'labels_of 1,000 customers' ms 'their facts' 20
		sql shop size.sql visits=10 rounds="$rounds" | point customers "$n" segment_size ms 'count by hand'
		sql shop advance.sql days=3 | point customers "$n" 'advance_segments by a day' s 'evaluating everybody' 1000
		drop shop
	done

	[ ${#segment_counts[@]} != 0 ] || return 0
	customers=$(scaled 100000)
	make_shop "$each"
	psql -X -q -d bench_shop -c 'DELETE FROM customer_groups.segments' || die "segments could not be deleted"
	for n in "${segment_counts[@]}"; do
		sql shop segments.sql segments="$n"
		point_of_sale segments "$n"
		sql shop labels.sql rounds="$rounds" | point segments "$n" 'labels_of 1,000 customers' ms 'their facts' 20
	done
	drop shop
}
