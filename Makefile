# customer_groups: built by PGXS, in this folder or out of tree:
#   make && make install
#   mkdir build && cd build && make -f ../Makefile && make -f ../Makefile install

EXTENSION = customer_groups
MODULE_big = customer_groups
tree := $(patsubst %/,%,$(dir $(firstword $(MAKEFILE_LIST))))
EXTVERSION := $(shell sed -n "s/^default_version = '\(.*\)'/\1/p" $(tree)/$(EXTENSION).control)

OBJS = \
	src/customer_groups.o \
	src/calendar/calendar.o \
	src/catalog/activity.o \
	src/catalog/catalog.o \
	src/catalog/scan.o \
	src/events/write.o \
	src/groups/members.o \
	src/pricing/candidates.o \
	src/pricing/cart.o \
	src/pricing/cart_json.o \
	src/pricing/currency.o \
	src/pricing/decimal.o \
	src/pricing/explain.o \
	src/pricing/inquiry.o \
	src/pricing/item.o \
	src/pricing/item_price.o \
	src/pricing/keys.o \
	src/pricing/order_level.o \
	src/pricing/stage.o \
	src/promotions/attached.o \
	src/promotions/cache.o \
	src/promotions/definitions.o \
	src/promotions/stamps.o \
	src/sales/booking.o \
	src/sales/check_sale.o \
	src/sales/customers.o \
	src/sales/facts.o \
	src/sales/lines.o \
	src/sales/priced_lines.o \
	src/sales/shop.o \
	src/segments/advance.o \
	src/segments/compile.o \
	src/segments/compile_tests.o \
	src/segments/evaluate.o \
	src/segments/labels.o \
	src/segments/lock.o \
	src/segments/pending.o \
	src/segments/references.o \
	src/segments/segment_cache.o \
	src/segments/segment_rule.o \
	src/segments/segment_rule_gram.o \
	src/segments/segment_rule_json.o \
	src/segments/segment_rule_names.o \
	src/segments/segment_rule_out.o \
	src/segments/segment_rule_scan.o \
	src/segments/sets.o \
	src/segments/track.o \
	src/segments/turns.o \
	src/tiers/moves.o \
	src/tiers/progress.o \
	src/tiers/review.o \
	src/tiers/upgrade.o \
	src/tiers/window.o

# The install script: the rooms' SQL in the order of what they build on.
SQL = \
	src/catalog/install.sql \
	src/catalog/activity.sql \
	src/calendar/calendar.sql \
	src/pricing/money.sql \
	src/sales/shop.sql \
	src/tiers/ladders.sql \
	src/events/events.sql \
	src/groups/groups.sql \
	src/sales/sales.sql \
	src/segments/segment_rule.sql \
	src/segments/segments.sql \
	src/promotions/promotions.sql \
	src/promotions/stamps.sql \
	src/segments/functions.sql \
	src/segments/sets.sql \
	src/segments/references.sql \
	src/segments/default_segments.sql \
	src/sales/sale_lines.sql \
	src/segments/tracking.sql \
	src/pricing/pricing.sql \
	src/groups/history.sql \
	src/groups/functions.sql \
	src/groups/delete_group.sql \
	src/promotions/attach.sql \
	src/sales/selling.sql \
	src/sales/refunds.sql \
	src/reports/promotion_use.sql \
	src/tiers/functions.sql \
	src/reports/summaries.sql \
	src/reports/customers.sql \
	src/events/log.sql \
	src/groups/access.sql \
	src/reports/tiers.sql \
	src/reports/integrity.sql \
	src/catalog/restored.sql \
	src/catalog/finish.sql

# From each version to the next one: docs/upgrading.md.
UPGRADES = $(patsubst $(tree)/upgrade/%,$(EXTENSION)--%,$(wildcard $(tree)/upgrade/*--*.sql))

install_script = $(EXTENSION)--$(EXTVERSION).sql
DATA_built = $(install_script) $(UPGRADES)

# `make installcheck` runs against an installed server; script/test does all of it by itself.
REGRESS = $(sort $(patsubst $(tree)/sql/%.sql,%,$(wildcard $(tree)/sql/*.sql)))
ISOLATION = $(sort $(patsubst $(tree)/test/isolation/specs/%.spec,%,$(wildcard $(tree)/test/isolation/specs/*.spec)))
TAP_TESTS = 1
PROVE_TESTS = test/t/*.pl
REGRESS_PREP = installcheck-setup
# The tests run as shop_owner, whom test/setup.sql makes, however the server lets its users in.
as_shop_owner = --use-existing --launcher='env PGOPTIONS="$$PGOPTIONS -c role=shop_owner"'
REGRESS_OPTS = --inputdir=$(tree) $(as_shop_owner)
ISOLATION_OPTS = --inputdir=$(tree)/test/isolation $(as_shop_owner)

GENERATED = \
	src/segments/segment_rule_gram.c \
	src/segments/segment_rule_gram.h \
	src/segments/segment_rule_scan.c
EXTRA_CLEAN = $(GENERATED)

PG_CPPFLAGS = -I$(tree)/src -Isrc -I$(tree)/src/segments -Isrc/segments \
	-DCG_VERSION=\"$(EXTVERSION)\"

PG_CONFIG ?= pg_config
PGXS := $(shell $(PG_CONFIG) --pgxs)
include $(PGXS)

# Out of tree, the folders of the objects are not there yet.
$(shell mkdir -p $(sort $(dir $(OBJS))))

$(install_script): $(SQL) $(EXTENSION).control
	cat $(filter %.sql,$^) > $@

$(UPGRADES): $(EXTENSION)--%: upgrade/% src/catalog/finish.sql
	cat $^ > $@

# Keeps the install script of a version that is released; test/t/020_upgrade.pl begins with it.
.PHONY: freeze
freeze: $(install_script)
	cp $(install_script) $(tree)/test/upgrade/

src/segments/segment_rule_gram.c: BISONFLAGS += -d
src/segments/segment_rule_gram.h: src/segments/segment_rule_gram.c
	touch $@
src/segments/segment_rule_gram.o src/segments/segment_rule_scan.o \
src/segments/segment_rule_gram.bc src/segments/segment_rule_scan.bc: src/segments/segment_rule_gram.h

# Objects are made anew when a header or the version changes.
$(OBJS) $(OBJS:.o=.bc): $(filter-out %_gram.h,$(wildcard $(tree)/src/*.h $(tree)/src/*/*.h)) $(EXTENSION).control

# The archive for PGXN, of what is committed.
DISTVERSION := $(shell sed -n '1,/"provides"/s/^ *"version": "\(.*\)",/\1/p' $(tree)/META.json)
.PHONY: dist
dist:
	git -C $(tree) archive --format=zip --prefix=$(EXTENSION)-$(DISTVERSION)/ -o $(CURDIR)/$(EXTENSION)-$(DISTVERSION).zip HEAD

.PHONY: installcheck-setup
installcheck-setup:
	'$(bindir)/psql' -X -q -o /dev/null -d postgres -v dbname=$(CONTRIB_TESTDB) -f $(tree)/test/setup.sql
	'$(bindir)/psql' -X -q -o /dev/null -d postgres -v dbname=$(ISOLATION_TESTDB) -f $(tree)/test/setup.sql
