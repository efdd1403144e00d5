// NVML for two devices that are linked, of which the second is hot and the first has no clocks to
// tell.
#include <cstdio>
#include <cstring>

namespace {

constexpr int kNotFound = 6, kNotSupported = 3;
int devices[2] = {0, 1};

bool IsSecond(void* device) { return device == &devices[1]; }

}  // namespace

extern "C" {

#ifndef FAKE_old
int nvmlInit_v2() { return 0; }
#endif
int nvmlShutdown() { return 0; }
const char* nvmlErrorString(int) { return "Not Found"; }
int nvmlSystemGetDriverVersion(char* text, unsigned bytes) {
  std::snprintf(text, bytes, "580.65.06");
  return 0;
}
int nvmlDeviceGetHandleByPciBusId_v2(const char* bus, void** device) {
  *device = &devices[std::strcmp(bus, "0000:18:00.0") == 0 ? 1 : 0];
  return std::strncmp(bus, "0000:1", 6) == 0 ? 0 : kNotFound;
}
int nvmlDeviceGetClockInfo(void* device, unsigned type, unsigned* mhz) {
  if (!IsSecond(device)) return kNotSupported;
  *mhz = type == 1 ? 1200 : 2600;
  return 0;
}
int nvmlDeviceGetMaxClockInfo(void*, unsigned, unsigned* mhz) {
  *mhz = 1980;
  return 0;
}
int nvmlDeviceGetCurrentClocksThrottleReasons(void* device, unsigned long long* reasons) {
  *reasons = IsSecond(device) ? 0x4 | 0x20 | 0x40 : 1;  // the first idles
  return 0;
}
int nvmlDeviceGetNvLinkState(void*, unsigned link, unsigned* active) {
  *active = link < 17 ? 1 : 0;
  return link < 18 ? 0 : kNotSupported;
}
int nvmlDeviceGetCurrPcieLinkGeneration(void*, unsigned* generation) {
  *generation = 5;
  return 0;
}
int nvmlDeviceGetCurrPcieLinkWidth(void*, unsigned* width) {
  *width = 16;
  return 0;
}
int nvmlDeviceGetP2PStatus(void*, void*, unsigned what, int* status) {
#ifdef FAKE_pcie
  *status = what == 2 ? 1 : 0;
#else
  (void)what;
  *status = 0;
#endif
  return 0;
}
int nvmlDeviceGetTopologyCommonAncestor(void*, void*, unsigned* level) {
  *level = 20;
  return 0;
}

}  // extern "C"
