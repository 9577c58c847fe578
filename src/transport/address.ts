import { type LookupAddress, type LookupOptions, lookup } from "node:dns"
import { BlockList, isIP, type LookupFunction } from "node:net"
import { FanfareError } from "../core/errors.ts"

/** Whether an address may be called. */
export type AddressRule = (address: string) => boolean

/** Nobody's app is there: link-local addresses (where clouds keep their secrets), multicast, and what stands for no address. */
const never = blockList([
  "0.0.0.0/8",
  "169.254.0.0/16",
  "224.0.0.0/4",
  "240.0.0.0/4",
  "::/128",
  "fe80::/10",
  "ff00::/8",
  "fd00:ec2::254/128",
])
const loopback = ["127.0.0.0/8", "::1/128"]
/** Networks of one's own, and those through which they can be reached under another name. */
const internal = [
  ...loopback,
  "10.0.0.0/8",
  "172.16.0.0/12",
  "192.168.0.0/16",
  "100.64.0.0/10",
  "192.0.0.0/24",
  "198.18.0.0/15",
  "fc00::/7",
  "64:ff9b::/96",
  "64:ff9b:1::/48",
  "2002::/16",
  "2001::/32",
]
const internalList = blockList(internal)

/**
 * Public addresses may be called, and those that the operator allows.
 * @param allowed networks such as `10.0.0.0/8`, addresses, or `private` for all networks of one's own and this machine
 * @throws FanfareError `invalid_option` naming the one that is none of these
 */
export function addressRule(allowed: readonly string[]): AddressRule {
  const list = blockList(allowed.flatMap((each) => (each === "private" ? internal : each === "loopback" ? loopback : [each])))
  return (given) => {
    const address = unmapped(given)
    const family = isIP(address) === 6 ? "ipv6" : "ipv4"
    if (isIP(address) === 0 || never.check(address, family)) return false
    return list.check(address, family) || !internalList.check(address, family)
  }
}

function blockList(networks: readonly string[]): BlockList {
  const list = new BlockList()
  for (const network of networks) {
    const [address = "", bits] = network.split("/")
    const family = isIP(address) === 6 ? "ipv6" : "ipv4"
    const most = family === "ipv6" ? 128 : 32
    const prefix = bits === undefined ? most : Number(bits)
    if (isIP(address) === 0 || !/^\d*$/.test(bits ?? "") || bits === "" || prefix > most) {
      throw new FanfareError("invalid_option", `"${network}" is no network`, {
        field: "allow",
        hint: "Use networks such as 10.0.0.0/8, addresses, loopback, or private.",
      })
    }
    list.addSubnet(address, prefix, family)
  }
  return list
}

/** An IPv4 address that is written as an IPv6 one. */
function unmapped(address: string): string {
  const dotted = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)?.[1]
  if (dotted !== undefined) return dotted
  const hex = /^::ffff:([0-9a-f]{1,4}):([0-9a-f]{1,4})$/i.exec(address)
  if (hex === null) return address
  const [high, low] = [Number.parseInt(hex[1] ?? "", 16), Number.parseInt(hex[2] ?? "", 16)]
  return [high >> 8, high & 255, low >> 8, low & 255].join(".")
}

/** A name is looked up once, and what is connected to is an address that was looked at. */
export function guardedLookup(mayCall: AddressRule): LookupFunction {
  return (hostname, options: LookupOptions, callback) => {
    lookup(hostname, { ...options, all: true }, (error, addresses: LookupAddress[]) => {
      const usable = error === null ? addresses.filter(({ address }) => mayCall(address)) : []
      const [first] = usable
      if (error !== null) callback(error, [])
      else if (first === undefined) callback(refused(hostname), [])
      else if (options.all === true) callback(null, usable)
      else callback(null, first.address, first.family)
    })
  }
}

/** Addresses that stand in a URL are not looked up: they are looked at before. */
export function checkHost(hostname: string, mayCall: AddressRule): void {
  const address = hostname.replace(/^\[(.*)\]$/, "$1")
  if (isIP(address) !== 0 && !mayCall(address)) throw refused(hostname)
}

function refused(hostname: string): FanfareError {
  return new FanfareError("invalid_option", `${hostname} is an address that this server may not call`, {
    field: "url",
    hint: "The operator allows networks with --allow, for example --allow 10.0.0.0/8 or --allow private.",
  })
}
