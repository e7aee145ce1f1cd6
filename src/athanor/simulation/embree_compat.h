// Embree 3 (Debian 12) and 4 (Debian 13) behind the calls that both have.
#pragma once

#if ATHANOR_EMBREE_MAJOR >= 4
#include <embree4/rtcore.h>
#else
#include <embree3/rtcore.h>
#endif

namespace athanor::embree {

// What rays of one kind have in common: neighbours in one direction, or scattered.
#if ATHANOR_EMBREE_MAJOR >= 4
inline void Intersect1(RTCScene scene, RTCRayHit* ray) { rtcIntersect1(scene, ray, nullptr); }
inline void Occluded1(RTCScene scene, RTCRay* ray) { rtcOccluded1(scene, ray, nullptr); }
inline void Intersect16(const int* valid, RTCScene scene, RTCRayHit16* rays, bool coherent) {
  RTCIntersectArguments arguments;
  rtcInitIntersectArguments(&arguments);
  arguments.flags = coherent ? RTC_RAY_QUERY_FLAG_COHERENT : RTC_RAY_QUERY_FLAG_INCOHERENT;
  rtcIntersect16(valid, scene, rays, &arguments);
}
inline void Occluded16(const int* valid, RTCScene scene, RTCRay16* rays, bool coherent) {
  RTCOccludedArguments arguments;
  rtcInitOccludedArguments(&arguments);
  arguments.flags = coherent ? RTC_RAY_QUERY_FLAG_COHERENT : RTC_RAY_QUERY_FLAG_INCOHERENT;
  rtcOccluded16(valid, scene, rays, &arguments);
}
#else
inline void Intersect1(RTCScene scene, RTCRayHit* ray) {
  RTCIntersectContext context;
  rtcInitIntersectContext(&context);
  rtcIntersect1(scene, &context, ray);
}
inline void Occluded1(RTCScene scene, RTCRay* ray) {
  RTCIntersectContext context;
  rtcInitIntersectContext(&context);
  rtcOccluded1(scene, &context, ray);
}
inline void Intersect16(const int* valid, RTCScene scene, RTCRayHit16* rays, bool coherent) {
  RTCIntersectContext context;
  rtcInitIntersectContext(&context);
  context.flags =
      coherent ? RTC_INTERSECT_CONTEXT_FLAG_COHERENT : RTC_INTERSECT_CONTEXT_FLAG_INCOHERENT;
  rtcIntersect16(valid, scene, &context, rays);
}
// Embree 3.13's occlusion of coherent packets never returns for some packets in worlds of
// instances, so all are cast as scattered ones.
inline void Occluded16(const int* valid, RTCScene scene, RTCRay16* rays, bool /*coherent*/) {
  RTCIntersectContext context;
  rtcInitIntersectContext(&context);
  context.flags = RTC_INTERSECT_CONTEXT_FLAG_INCOHERENT;
  rtcOccluded16(valid, scene, &context, rays);
}
#endif

}  // namespace athanor::embree
