"""The counter structures of sFlow, by enterprise and format; names and order are those of the specifications.

Sources, all at sflow.org: sflow_version_5.txt (RFC 3176 has the first of them), sflow_80211.txt, sflow_lag.txt,
sflow_optics.txt, sflow_openflow.txt, sflow_host.txt, sflow_host_ip.txt, sflow_jvm.txt, sflow_memcache.txt,
sflow_http.txt, sflow_application.txt, sflow_nvml.txt, sflow_broadcom_tables.txt. A counter that an agent does not have
has the greatest value of its type there, and has it here.
"""

from __future__ import annotations

from overflowd_tools.protocols.xdr import Reader, Structure, structure

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Final

_LANE: Final = structure(
    "lane",
    "lane_index tx_bias_current tx_power tx_power_min tx_power_max tx_wavelength rx_power rx_power_min rx_power_max"
    " rx_wavelength",
)


def _lanes(reader: Reader) -> list[dict[str, Any]]:
    return [_LANE.read(reader) for _ in range(_count(reader, 40))]


def _adapters(reader: Reader) -> list[dict[str, Any]]:
    return [{"ifIndex": reader.unsigned(), "mac_addresses": _macs(reader)} for _ in range(_count(reader, 8))]


def _macs(reader: Reader) -> list[str]:
    return [reader.mac_text() for _ in range(_count(reader, 8))]


def _count(reader: Reader, size: int) -> int:
    """Return the number of elements of an array, or one more than there can be if it claims more than that."""
    return min(reader.unsigned(), reader.left // size + 1)


_IF_COUNTERS: Final = structure(
    "if_counters",
    "ifIndex ifType ifSpeed:hyper ifDirection ifStatus ifInOctets:hyper ifInUcastPkts ifInMulticastPkts"
    " ifInBroadcastPkts ifInDiscards ifInErrors ifInUnknownProtos ifOutOctets:hyper ifOutUcastPkts ifOutMulticastPkts"
    " ifOutBroadcastPkts ifOutDiscards ifOutErrors ifPromiscuousMode",
)
_ETHERNET: Final = structure(
    "ethernet_counters",
    "dot3StatsAlignmentErrors dot3StatsFCSErrors dot3StatsSingleCollisionFrames dot3StatsMultipleCollisionFrames"
    " dot3StatsSQETestErrors dot3StatsDeferredTransmissions dot3StatsLateCollisions dot3StatsExcessiveCollisions"
    " dot3StatsInternalMacTransmitErrors dot3StatsCarrierSenseErrors dot3StatsFrameTooLongs"
    " dot3StatsInternalMacReceiveErrors dot3StatsSymbolErrors",
)
_TOKENRING: Final = structure(
    "tokenring_counters",
    "dot5StatsLineErrors dot5StatsBurstErrors dot5StatsACErrors dot5StatsAbortTransErrors dot5StatsInternalErrors"
    " dot5StatsLostFrameErrors dot5StatsReceiveCongestions dot5StatsFrameCopiedErrors dot5StatsTokenErrors"
    " dot5StatsSoftErrors dot5StatsHardErrors dot5StatsSignalLoss dot5StatsTransmitBeacons dot5StatsRecoverys"
    " dot5StatsLobeWires dot5StatsRemoves dot5StatsSingles dot5StatsFreqErrors",
)
_VG: Final = structure(
    "vg_counters",
    "dot12InHighPriorityFrames dot12InHighPriorityOctets:hyper dot12InNormPriorityFrames"
    " dot12InNormPriorityOctets:hyper dot12InIPMErrors dot12InOversizeFrameErrors dot12InDataErrors"
    " dot12InNullAddressedFrames dot12OutHighPriorityFrames dot12OutHighPriorityOctets:hyper"
    " dot12TransitionIntoTrainings dot12HCInHighPriorityOctets:hyper dot12HCInNormPriorityOctets:hyper"
    " dot12HCOutHighPriorityOctets:hyper",
)
_VLAN: Final = structure("vlan_counters", "vlan_id octets:hyper ucastPkts multicastPkts broadcastPkts discards")
_NET_IO: Final = "bytes_in:hyper pkts_in errs_in drops_in bytes_out:hyper packets_out errs_out drops_out"

_STANDARD: Final = {
    1: _IF_COUNTERS,
    2: _ETHERNET,
    3: _TOKENRING,
    4: _VG,
    5: _VLAN,
    6: structure(
        "ieee80211_counters",
        "dot11TransmittedFragmentCount dot11MulticastTransmittedFrameCount dot11FailedCount dot11RetryCount"
        " dot11MultipleRetryCount dot11FrameDuplicateCount dot11RTSSuccessCount dot11RTSFailureCount"
        " dot11ACKFailureCount dot11ReceivedFragmentCount dot11MulticastReceivedFrameCount dot11FCSErrorCount"
        " dot11TransmittedFrameCount dot11WEPUndecryptableCount dot11QoSDiscardedFragmentCount"
        " dot11AssociatedStationCount dot11QoSCFPollsReceivedCount dot11QoSCFPollsUnusedCount"
        " dot11QoSCFPollsUnusableCount dot11QoSCFPollsLostCount",
    ),
    7: structure(
        "lag_port_stats",
        "dot3adAggPortActorSystemID:mac dot3adAggPortPartnerOperSystemID:mac dot3adAggPortAttachedAggID"
        " dot3adAggPortState dot3adAggPortStatsLACPDUsRx dot3adAggPortStatsMarkerPDUsRx"
        " dot3adAggPortStatsMarkerResponsePDUsRx dot3adAggPortStatsUnknownRx dot3adAggPortStatsIllegalRx"
        " dot3adAggPortStatsLACPDUsTx dot3adAggPortStatsMarkerPDUsTx dot3adAggPortStatsMarkerResponsePDUsTx",
    ),
    10: structure(
        "sfp",
        "module_id module_total_lanes module_supply_voltage module_temperature:int lanes:lanes",
        {"lanes": _lanes},
    ),
    11: structure("pfc_counters", "requests indications pause_duration storm_detected storm_restored"),
    1001: structure("processor", "cpu_5s:int cpu_1m:int cpu_5m:int total_memory:hyper free_memory:hyper"),
    1002: structure("radio_utilization", "elapsed_time on_channel_time on_channel_busy_time"),
    1004: structure("of_port", "datapath_id:hyper port_no"),
    1005: structure("port_name", "name:string"),
    2000: structure("host_descr", "hostname:string uuid:uuid machine_type os_name os_release:string"),
    2001: structure("host_adapters", "adapters:adapters", {"adapters": _adapters}),
    2002: structure("host_parent", "container_type container_index"),
    2003: structure(
        "host_cpu",
        "load_one:float load_five:float load_fifteen:float proc_run proc_total cpu_num cpu_speed uptime cpu_user"
        " cpu_nice cpu_system cpu_idle cpu_wio cpu_intr cpu_sintr interrupts contexts cpu_steal cpu_guest"
        " cpu_guest_nice",
        least=17,
    ),
    2004: structure(
        "host_memory",
        "mem_total:hyper mem_free:hyper mem_shared:hyper mem_buffers:hyper mem_cached:hyper swap_total:hyper"
        " swap_free:hyper page_in page_out swap_in swap_out",
    ),
    2005: structure(
        "host_disk_io",
        "disk_total:hyper disk_free:hyper part_max_used:int reads bytes_read:hyper read_time writes"
        " bytes_written:hyper write_time",
    ),
    2006: structure("host_net_io", _NET_IO),
    2007: structure(
        "mib2_ip_group",
        "ipForwarding ipDefaultTTL ipInReceives ipInHdrErrors ipInAddrErrors ipForwDatagrams ipInUnknownProtos"
        " ipInDiscards ipInDelivers ipOutRequests ipOutDiscards ipOutNoRoutes ipReasmTimeout ipReasmReqds ipReasmOKs"
        " ipReasmFails ipFragOKs ipFragFails ipFragCreates",
    ),
    2008: structure(
        "mib2_icmp_group",
        "icmpInMsgs icmpInErrors icmpInDestUnreachs icmpInTimeExcds icmpInParamProbs icmpInSrcQuenchs icmpInRedirects"
        " icmpInEchos icmpInEchoReps icmpInTimestamps icmpInAddrMasks icmpInAddrMaskReps icmpOutMsgs icmpOutErrors"
        " icmpOutDestUnreachs icmpOutTimeExcds icmpOutParamProbs icmpOutSrcQuenchs icmpOutRedirects icmpOutEchos"
        " icmpOutEchoReps icmpOutTimestamps icmpOutTimestampReps icmpOutAddrMasks icmpOutAddrMaskReps",
    ),
    2009: structure(
        "mib2_tcp_group",
        "tcpRtoAlgorithm tcpRtoMin tcpRtoMax tcpMaxConn tcpActiveOpens tcpPassiveOpens tcpAttemptFails tcpEstabResets"
        " tcpCurrEstab tcpInSegs tcpOutSegs tcpRetransSegs tcpInErrs tcpOutRsts tcpInCsumErrors",
    ),
    2010: structure(
        "mib2_udp_group",
        "udpInDatagrams udpNoPorts udpInErrors udpOutDatagrams udpRcvbufErrors udpSndbufErrors udpInCsumErrors",
    ),
    2100: structure("virt_node", "mhz cpus memory:hyper memory_free:hyper num_domains"),
    2101: structure("virt_cpu", "state cpuTime nrVirtCpu"),
    2102: structure("virt_memory", "memory:hyper maxMemory:hyper"),
    2103: structure(
        "virt_disk_io",
        "capacity:hyper allocation:hyper physical:hyper rd_req rd_bytes:hyper wr_req wr_bytes:hyper errs",
    ),
    2104: structure(
        "virt_net_io", "rx_bytes:hyper rx_packets rx_errs rx_drop tx_bytes:hyper tx_packets tx_errs tx_drop"
    ),
    2105: structure("jvm_runtime", "vm_name:string vm_vendor:string vm_version:string"),
    2106: structure(
        "jvm_statistics",
        "heap_initial:hyper heap_used:hyper heap_committed:hyper heap_max:hyper non_heap_initial:hyper"
        " non_heap_used:hyper non_heap_committed:hyper non_heap_max:hyper gc_count gc_time classes_loaded"
        " classes_total classes_unloaded compilation_time thread_num_live thread_num_daemon thread_num_started"
        " fd_open_count fd_max_count",
        least=17,
    ),
    2201: structure(
        "http_counters",
        "method_option_count method_get_count method_head_count method_post_count method_put_count"
        " method_delete_count method_trace_count method_connect_count method_other_count status_1XX_count"
        " status_2XX_count status_3XX_count status_4XX_count status_5XX_count status_other_count",
    ),
    2202: structure(
        "app_operations",
        "application:string success other timeout internal_error bad_request forbidden too_large not_implemented"
        " not_found unavailable unauthorized",
    ),
    2203: structure(
        "app_resources", "user_time system_time mem_used:hyper mem_max:hyper fd_open fd_max conn_open conn_max"
    ),
    2204: structure(
        "memcache_counters",
        "cmd_set cmd_touch cmd_flush get_hits get_misses delete_hits delete_misses incr_hits incr_misses decr_hits"
        " decr_misses cas_hits cas_misses cas_badval auth_cmds auth_errors threads conn_yields listen_disabled_num"
        " curr_connections rejected_connections total_connections connection_structures evictions reclaimed curr_items"
        " total_items bytes_read:hyper bytes_written:hyper bytes:hyper limit_maxbytes:hyper",
    ),
    2206: structure("app_workers", "workers_active workers_idle workers_max req_delayed req_dropped"),
    2207: structure("ovs_dp_stats", "hits misses lost mask_hits flows masks"),
}

COUNTERS: Final[dict[int, Structure]] = {
    **_STANDARD,
    4413 << 12 | 3: structure(
        "hw_tables",
        "host_entries host_entries_max ipv4_entries ipv4_entries_max ipv6_entries ipv6_entries_max ipv4_ipv6_entries"
        " ipv4_ipv6_entries_max long_ipv6_entries long_ipv6_entries_max total_routes total_routes_max ecmp_nexthops"
        " ecmp_nexthops_max mac_entries mac_entries_max ipv4_neighbors ipv6_neighbors ipv4_routes ipv6_routes"
        " acl_ingress_entries acl_ingress_entries_max acl_ingress_counters acl_ingress_counters_max"
        " acl_ingress_meters acl_ingress_meters_max acl_ingress_slices acl_ingress_slices_max acl_egress_entries"
        " acl_egress_entries_max acl_egress_counters acl_egress_counters_max acl_egress_meters acl_egress_meters_max"
        " acl_egress_slices acl_egress_slices_max",
    ),
    5703 << 12 | 1: structure(
        "nvml_gpu",
        "device_count processes gpu_time mem_time mem_total:hyper mem_free:hyper ecc_errors energy temperature"
        " fan_speed",
    ),
}
"""Data format (enterprise << 12 | format) -> structure."""

COUNTERS_BEFORE_5: Final[dict[int, tuple[Structure, ...]]] = {
    1: (_IF_COUNTERS,),
    2: (_IF_COUNTERS, _ETHERNET),
    3: (_IF_COUNTERS, _TOKENRING),
    4: (_IF_COUNTERS,),  # FDDI
    5: (_IF_COUNTERS, _VG),
    6: (_IF_COUNTERS,),  # WAN
    7: (_VLAN,),
}
"""counters_type of versions 2 and 4 (RFC 3176 section 5) -> structures."""
