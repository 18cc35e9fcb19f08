// The files that browsers load beside pages: read once at start, served by exact name only, never by path.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

/** A file for browsers. */
export type Asset = {
  readonly name: string
  readonly contentType: string
  readonly bytes: Buffer
  /** Its address; it changes with the content, so that browsers may keep it. */
  readonly url: string
}

/** All of them by name. */
export type Assets = ReadonlyMap<string, Asset>

const TYPES: Readonly<Record<string, string>> = {
  js: 'text/javascript; charset=utf-8',
  css: 'text/css; charset=utf-8',
  svg: 'image/svg+xml',
}

/** Below this path they are served. */
export const ASSET_PREFIX = '/assets/'

/** Reads the files of the dashboard. Every other kind of file in the folder is left alone. */
export function loadAssets(directory: string = join(import.meta.dirname, 'assets')): Assets {
  const assets = new Map<string, Asset>()
  for (const name of readdirSync(directory).toSorted()) {
    const contentType = TYPES[name.slice(name.lastIndexOf('.') + 1)]
    if (contentType === undefined) continue
    const bytes = readFileSync(join(directory, name))
    const version = createHash('sha256').update(bytes).digest('base64url').slice(0, 12)
    assets.set(name, { name, contentType, bytes, url: `${ASSET_PREFIX}${name}?v=${version}` })
  }
  return assets
}

/** The address of a file that must be there. @throws Error when it is not */
export function assetUrl(assets: Assets, name: string): string {
  const asset = assets.get(name)
  if (asset === undefined) throw new Error(`there is no file ${name} among those of the dashboard`)
  return asset.url
}
