/** Numbers of devices as stat(2) gives them (glibc's makedev(3)). Pure. */

/** "major:minor", by which /sys/dev and /run/cryptsetup name a device. */
export function deviceNumber(rdev: number | bigint): string {
  const number = BigInt(rdev)
  const major = ((number >> 8n) & 0xfffn) | ((number >> 32n) & 0xfffff000n)
  const minor = (number & 0xffn) | ((number >> 12n) & 0xffffff00n)
  return `${major}:${minor}`
}
