// Every peer, in the order in which they are measured and printed.
import { caddy } from './caddy.ts'
import { haproxy } from './haproxy.ts'
import { httpProxy } from './http-proxy.ts'
import { direct, nginx, nginxModSecurity } from './nginx.ts'
import type { Peer } from './peer.ts'
import { portcullisCrs } from './portcullis-crs.ts'
import { portcullis } from './portcullis.ts'

export const PEERS: readonly Peer[] = [
  direct,
  nginx,
  haproxy,
  portcullis,
  caddy,
  httpProxy,
  nginxModSecurity,
  portcullisCrs,
]
