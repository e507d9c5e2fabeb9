/** How long each product keeps an entry: longer than any measurement. */
export const ttlMs = 600_000;

/** What the products cache: anything JSON can carry, with the version that its source gave it. */
export interface Value {
  readonly version: number;
  readonly [field: string]: unknown;
}

/** The system of record, as a cache sees it. */
export interface Source {
  load(id: string): Promise<Value | undefined>;
  /** Ids that the source does not have are absent from the map. */
  loadMany(ids: readonly string[]): Promise<ReadonlyMap<string, Value>>;
  save(id: string, value: Value): Promise<void>;
}

export interface OpenOptions {
  readonly redisUrl: string;
  /** Distinct for each run, so that several may share one Redis. */
  readonly prefix: string;
  readonly source: Source;
}

/** A cache product, at its best documented configuration for several servers that share one Redis. */
export interface CacheProduct {
  readonly name: string;
  readonly version: string;
  /** The configuration in words: it is printed beside every figure. */
  readonly configuration: string;
  /** Opens the cache of one server. */
  open(options: OpenOptions): Promise<CacheClient>;
}

/** One server's cache in front of the source. */
export interface CacheClient {
  /** The cached value, or what the source has; undefined if the source has none. */
  get(id: string): Promise<Value | undefined>;
  /** The same for several, in the order of `ids`. */
  getMany(ids: readonly string[]): Promise<(Value | undefined)[]>;
  /** Writes to the source and does to the cache what the product's documentation says goes with a write. */
  update(id: string, value: Value): Promise<void>;
  /** Makes the cache forget a value, after a write that went past it. */
  invalidate(id: string): Promise<void>;
  /** Whether this process would answer from its own memory now; absent: it can't tell. */
  isCopied?(id: string): Promise<boolean>;
  close(): Promise<void>;
}
