// HAProxy with one thread and a country map made from the same database.
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { firstLine } from '../stage/processes.ts'
import { ipv4Countries } from './country-list.ts'
import type { Peer } from './peer.ts'

export const haproxy: Peer = {
  id: 'haproxy',
  work: 'TLS, country check (map_ip over every IPv4 range of the same database), proxy with kept-alive upstream',
  refuses: { foreignCountry: true, attack: false },
  version: () => /HAProxy version \S+/.exec(firstLine('haproxy', '-v') ?? '')?.[0],
  prepare: stage => {
    const pem = join(stage.dir, 'server.pem')
    const parts = [stage.certFile, stage.keyFile].map(part => readFileSync(part, 'utf8'))
    writeFileSync(pem, parts.join('\n'), { mode: 0o600 })
    const map = join(stage.dir, 'countries.map')
    writeFileSync(
      map,
      ipv4Countries(stage.geoFile)
        .map(({ range, country }) => `${range} ${country}\n`)
        .join(''),
    )
    const file = join(stage.dir, 'haproxy.cfg')
    writeFileSync(
      file,
      `global
  nbthread 1
  maxconn 9500
  ssl-default-bind-options ssl-min-ver TLSv1.2
defaults
  mode http
  timeout connect 5s
  timeout client 120s
  timeout server 120s
  timeout tunnel 1h
  timeout http-keep-alive 120s
  option http-keep-alive
  http-reuse always
frontend https
  bind *:${stage.port} ssl crt ${pem} alpn http/1.1 backlog 8192
  http-request deny unless { src,map_ip(${map}) -m str ${stage.homeCountry} }
  option forwardfor
  http-request set-header X-Forwarded-Proto https
  default_backend rmm
backend rmm
  server primary ${stage.upstream.host}:${stage.upstream.port} pool-max-conn 256
`,
    )
    return { argv: ['haproxy', '-db', '-f', file] }
  },
}
