// Words of SQL dialects by what they do in a statement; facts from the manuals of MySQL, PostgreSQL, SQL Server, Oracle, SQLite.

const words = (list: string): readonly string[] => list.trim().split(/\s+/)

/** Functions that wait, read files, run commands or fail on purpose: a value has no business calling them. */
const TELLING = `
  sleep benchmark pg_sleep pg_sleep_for load_file extractvalue updatexml exists xp_cmdshell xp_dirtree xp_regread
  xp_fileexist sp_executesql sp_oacreate sp_password randomblob load_extension pg_read_file pg_ls_dir lo_import lo_export
  dblink dblink_connect query_to_xml database_to_xml openrowset opendatasource openquery xmltype gtid_subset name_const
  dbms_pipe.receive_message dbms_lock.sleep utl_http.request utl_inaddr.get_host_address utl_inaddr.get_host_name
  httpuritype dbms_ldap.init ctxsys.drithsx.sn sys_eval sys_exec make_set row_count get_lock is_srvrolemember`

const FUNCTIONS = `
  abs acos ascii asin atan avg bin bit_length cast ceil ceiling char char_length character_length chr coalesce collation
  concat concat_ws connection_id conv convert cos count crc32 curdate current_database current_setting current_user curtime
  database date date_add date_format date_sub datediff db_id db_name decode degrees elt encode exp field find_in_set floor
  format generate_series getdate greatest group_concat has_dbaccess hex host_name ifnull iif instr isnull json_extract
  last_insert_id lcase least left len length ln locate log lower lpad ltrim max md5 mid min mod month now nullif nvl
  object_id octet_length ord pi position pow power quote quotename rand random regexp_like repeat replace replicate reverse
  right round row rpad rtrim schema sha1 sha2 sign sin soundex space sqlite_version sqrt stddev str strcmp string_agg
  stuff substr substring substring_index sum suser_name system_user sysdate tan to_char to_number translate trim trunc
  truncate typeof ucase unhex unicode upper user user_id user_name utl_raw.cast_to_raw uuid version xmlagg xmlelement year
  if case when extract instr lpad zeroblob printf hex unistr json_keys quote_ident array_to_string row_to_json is_member`

const COMPARISONS = `like rlike regexp ilike glob between in is similar sounds contains div_eq`

/** What a word is when it stands alone; absent: a name. */
export type WordKind =
  'logical' | 'not' | 'comparison' | 'operator' | 'literal' | 'union' | 'select' | 'filler'

const KINDS = new Map<string, WordKind>([
  ...words('and or xor').map(word => [word, 'logical'] as const),
  ...words(COMPARISONS).map(word => [word, 'comparison'] as const),
  ...words('div mod rdiv').map(word => [word, 'operator'] as const),
  ...words('null true false').map(word => [word, 'literal'] as const),
  ...words('union intersect except minus').map(word => [word, 'union'] as const),
  ['not', 'not'],
  ['select', 'select'],
  ...words('all distinct distinctrow binary begin').map(word => [word, 'filler'] as const),
])

const CALLS = new Map<string, 'telling' | 'function'>([
  ...words(FUNCTIONS).map(word => [word, 'function'] as const),
  ...words(TELLING).map(word => [word, 'telling'] as const),
])

/** Two words that begin a statement or a clause; one of them alone is ordinary prose. */
const PAIRS = new Map<string, 'statement' | 'clause' | 'wait'>([
  ...words(`insert+into delete+from drop+table drop+database drop+schema drop+user drop+view drop+column drop+procedure
    drop+function drop+index alter+table alter+database alter+user alter+login create+table create+user create+view
    create+function create+procedure create+database create+login truncate+table 
    replace+into merge+into load+data grant+all execute+immediate begin+declare copy+from attach+database
    shutdown+with backup+database restore+database into+outfile into+dumpfile procedure+analyse`).map(
    pair => [pair, 'statement'] as const,
  ),
  ['waitfor+delay', 'wait'],
  ['waitfor+time', 'wait'],
  ...words(`order+by group+by for+xml`).map(pair => [pair, 'clause'] as const),
])

/** What a word is when it stands alone. */
export function wordKind(word: string): WordKind | undefined {
  return KINDS.get(word)
}

/** What a word is as the name of a function; undefined: no function of any dialect. */
export function callKind(word: string): 'telling' | 'function' | undefined {
  return CALLS.get(word)
}

/** What two words in a row begin. */
export function pairKind(first: string, second: string): 'statement' | 'clause' | 'wait' | undefined {
  // Procedures of SQL Server by their prefix.
  if (first.startsWith('exec') && /^(?:[sx]p_|master\b)/.test(second)) return 'statement'
  return PAIRS.get(`${first}+${second}`)
}
