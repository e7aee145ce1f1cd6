// What the things of a street are called: kinds in words, for label images and for models that
// learn what words mean.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "athanor/simulation/mesh.h"
#include "athanor/simulation/street/town.h"
#include "athanor/simulation/traffic/traffic.h"

namespace athanor {

struct StreetKind {
  std::string name;
  std::vector<std::string> synonyms;
  std::string category;                  // "vehicle", "person", "ground" ...
  std::vector<std::string> affordances;  // what one does with it: "to drive on"
};

// All kinds; "sky" is where no ray hits anything.
const std::vector<StreetKind>& StreetKinds();

// Names of StreetKinds().
std::string_view KindOfTown(TownPart part);
// `category` as ActorCategory gives it.
std::string_view KindOfActor(ActorClass actor_class, std::string_view category);
// The same for one part of an actor's mesh: those who ride or push belong to "person".
std::string_view KindOfActorPart(ActorClass actor_class, std::string_view category,
                                 std::string_view part);

// What people would call the colour of an actor (ColorNames()); empty where its first material is
// not what one sees most of.
std::string ColorOfActor(ActorClass actor_class, const Mesh& mesh);

// {"classes": [{"name", "synonyms", "category", "affordances"}]}.
std::string StreetClassesJson();

}  // namespace athanor
