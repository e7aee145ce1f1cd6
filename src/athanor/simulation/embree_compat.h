// Embree 3 (Debian 12) and 4 (Debian 13) behind the calls that both have.
#pragma once

#if ATHANOR_EMBREE_MAJOR >= 4
#include <embree4/rtcore.h>
#else
#include <embree3/rtcore.h>
#endif

namespace athanor::embree {

// Rays are flagged as incoherent, which is the default, unless all sixteen are there: with the
// coherent flag, rtcOccluded16 of Embree 3.13.5 never returned for packets towards the sun with
// some lanes switched off.
#if ATHANOR_EMBREE_MAJOR >= 4
inline void Intersect1(RTCScene scene, RTCRayHit* ray) { rtcIntersect1(scene, ray, nullptr); }
inline void Occluded1(RTCScene scene, RTCRay* ray) { rtcOccluded1(scene, ray, nullptr); }
inline void Intersect16(const int* valid, RTCScene scene, RTCRayHit16* rays,
                        bool coherent = false) {
  RTCIntersectArguments arguments;
  rtcInitIntersectArguments(&arguments);
  if (coherent) arguments.flags = RTC_RAY_QUERY_FLAG_COHERENT;
  rtcIntersect16(valid, scene, rays, &arguments);
}
inline void Occluded16(const int* valid, RTCScene scene, RTCRay16* rays) {
  RTCOccludedArguments arguments;
  rtcInitOccludedArguments(&arguments);
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
inline void Intersect16(const int* valid, RTCScene scene, RTCRayHit16* rays,
                        bool coherent = false) {
  RTCIntersectContext context;
  rtcInitIntersectContext(&context);
  if (coherent) context.flags = RTC_INTERSECT_CONTEXT_FLAG_COHERENT;
  rtcIntersect16(valid, scene, &context, rays);
}
inline void Occluded16(const int* valid, RTCScene scene, RTCRay16* rays) {
  RTCIntersectContext context;
  rtcInitIntersectContext(&context);
  rtcOccluded16(valid, scene, &context, rays);
}
#endif

}  // namespace athanor::embree
