// How country databases are called in front of a person: many makers leave the type empty or generic, the file name says more.
import { basename } from 'node:path'
import { formatDay, formatDuration } from './format.ts'

/** What is shown of a database. */
export type ShownDatabase = { readonly file: string; readonly type: string; readonly builtMs: number }

/** `geo-whois-asn-country`, `GeoLite2-Country`: the maker's type where it is a name, else the file's. */
export function databaseName({ file, type }: ShownDatabase): string {
  return /^[A-Za-z0-9]+(?:-[A-Za-z0-9]+)+$/.test(type) ? type : basename(file).replace(/\.mmdb$/i, '')
}

/** `built 2026-06-17, 156 days ago`. */
export function databaseAge({ builtMs }: ShownDatabase, nowMs: number): string {
  const ago = nowMs - builtMs
  return `built ${formatDay(builtMs)}${ago >= 86_400_000 ? `, ${formatDuration(ago)} ago` : ''}`
}
