// The C interface between Athanor and athanor_sumo, the small library that is linked with libsumo.
// It is opened only when a simulation starts: libsumo drags in some 200 libraries (GDAL, OSG, FOX),
// which no other command should wait for, and a system without SUMO runs all the rest.
//
// All functions return 0, or 1 with a reason in last_error(). One simulation at a time; not thread
// safe. Strings and arrays that come back live until the next call of the same function.
#pragma once

extern "C" {

struct AthanorSumoActor {
  const char* id;
  const char* type;
  const char* vehicle_class;  // SUMO's: "passenger", "bus" ...
  const char* lane;           // empty when it is on none
  double x, y, z;             // vehicles: middle of the front bumper; walkers: their middle
  double angle_deg;           // SUMO's: 0 = north, clockwise
  double speed, accel;
  double lane_position;
  double length, width, height;
  int signals;    // SUMO's bits: 1 blinker right, 2 left, 4 hazard lights, 8 brake light
  int is_person;  // else a vehicle
};

struct AthanorSumoLight {
  const char* id;
  const char* state;
};

#define ATHANOR_SUMO_API_VERSION 1

struct AthanorSumoApi {
  int version;
  const char* (*last_error)();
  const char* (*sumo_version)();
  int (*start)(int count, const char* const* arguments);
  int (*step)();
  int (*actors)(const AthanorSumoActor** actors, int* count);
  int (*lights)(const AthanorSumoLight** lights, int* count);
  // Metres along the vehicle's route to a place; negative when it does not pass there.
  int (*driving_distance)(const char* vehicle, const char* edge, double position, int lane,
                          double* distance);
  // Drives at most this speed from now on, with whatever deceleration that takes; -1: as SUMO
  // wants.
  int (*limit_speed)(const char* vehicle, double speed);
  int (*close)();
};

// The one symbol of the library.
typedef const AthanorSumoApi* (*AthanorSumoEntry)();
}
