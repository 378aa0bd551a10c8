//! RocksDB's options, from the few words that the owner of the data says.

use rocksdb::statistics::StatsLevel;
use rocksdb::{
    BlockBasedOptions, BlockBasedTablePinningTier, Cache, ColumnFamilyDescriptor, DBCompactionStyle, DBCompressionType,
    DBRecoveryMode, LogLevel, Options, SliceTransform,
};

use super::config::{Config, FamilySpec, Shape};

/// One in a hundred look-ups in vain touches a block.
const BLOOM_BITS_PER_KEY: f64 = 10.0;
/// Share of a write buffer that its own bloom filter takes.
const WRITE_BUFFER_BLOOM: f64 = 0.05;
/// Small blocks make single look-ups cheap, larger ones compress better.
const BLOCK_BYTES: usize = 8 << 10;
const FILE_BYTES: u64 = 64 << 20;
/// So many sorted runs of a family of small rows are left alone; a read looks into each whose filter lets it. On 10,000,000 events 6
/// write 2,000 to 2,400 bytes an event in all, and 8 no less.
const RUNS: i32 = 6;
/// Measured on 200,000 events of 525 bytes: level 1 takes 473 bytes and 3 us of CPU an event; level 3 with a dictionary
/// 462 bytes and 10 us.
const ZSTD_LEVEL: i32 = 1;
/// RocksDB's word for "the window that suits the level".
const ZSTD_WINDOW_BITS: i32 = -14;
/// Background writes are handed to the disk in portions, so that no sync of the log waits behind a whole file.
const BACKGROUND_SYNC_BYTES: u64 = 1 << 20;
const INFO_LOG_BYTES: usize = 4 << 20;
const INFO_LOG_FILES: usize = 2;

/// Options of the whole database.
pub(super) fn database(config: &Config) -> Options {
    let mut options = Options::default();
    options.create_if_missing(true);
    options.create_missing_column_families(true);
    // A torn last record is dropped, everything else that is damaged refuses to open. The default (point in time) would open
    // without a word and without the synced records after the damage.
    options.set_wal_recovery_mode(DBRecoveryMode::TolerateCorruptedTailRecords);
    options.set_max_total_wal_size(config.wal_bytes_max);
    options.set_max_background_jobs(config.background_jobs);
    options.set_bytes_per_sync(BACKGROUND_SYNC_BYTES);
    options.set_skip_stats_update_on_db_open(true);
    options.set_keep_log_file_num(INFO_LOG_FILES);
    options.set_max_log_file_size(INFO_LOG_BYTES);
    options.set_log_level(LogLevel::Warn);
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.enable_statistics();
    options.set_statistics_level(StatsLevel::ExceptHistogramOrTimers);
    options
}

/// Options of one family; all share the block cache.
pub(super) fn family(spec: &FamilySpec, cache: &Cache) -> ColumnFamilyDescriptor {
    let mut options = Options::default();
    options.set_write_buffer_size(spec.write_buffer_bytes);
    options.set_level_compaction_dynamic_level_bytes(true);
    options.set_target_file_size_base(FILE_BYTES);
    options.set_compression_type(DBCompressionType::Lz4);
    let mut table = table(cache);
    match spec.shape {
        Shape::Log => {
            options.set_bottommost_compression_type(DBCompressionType::Zstd);
            options.set_bottommost_compression_options(ZSTD_WINDOW_BITS, ZSTD_LEVEL, 0, 0, true);
        }
        Shape::Lookup => {
            merge_equals(&mut options);
            table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
            options.set_memtable_whole_key_filtering(true);
            options.set_memtable_prefix_bloom_ratio(WRITE_BUFFER_BLOOM);
        }
        Shape::Ranges { prefix_bytes } => {
            merge_equals(&mut options);
            table.set_bloom_filter(BLOOM_BITS_PER_KEY, false);
            table.set_whole_key_filtering(false);
            options.set_prefix_extractor(SliceTransform::create_fixed_prefix(prefix_bytes));
            options.set_memtable_prefix_bloom_ratio(WRITE_BUFFER_BLOOM);
        }
        Shape::Sorted => merge_equals(&mut options),
        Shape::Small => {}
    }
    options.set_block_based_table_factory(&table);
    ColumnFamilyDescriptor::new(spec.name, options)
}

/// Merges files with others of their size. Rows under random keys touch all of the level below, so that levels would write them
/// again with each few buffers that are added.
fn merge_equals(options: &mut Options) {
    options.set_compaction_style(DBCompactionStyle::Universal);
    options.set_level_zero_file_num_compaction_trigger(RUNS);
}

/// The block cache of a database: without locks, so that readers do not wait for each other.
pub(super) fn cache(config: &Config) -> Cache {
    Cache::new_hyper_clock_cache(config.cache_bytes, BLOCK_BYTES)
}

fn table(cache: &Cache) -> BlockBasedOptions {
    let mut table = BlockBasedOptions::default();
    table.set_block_cache(cache);
    table.set_block_size(BLOCK_BYTES);
    table.set_format_version(6);
    // Filters and indexes count against the configured size, but are never pushed out: a tenth to a fifth of a read would be
    // spent on finding them again. They take about 5 bytes an event.
    table.set_cache_index_and_filter_blocks(true);
    table.set_unpartitioned_pinning_tier(BlockBasedTablePinningTier::All);
    table
}
