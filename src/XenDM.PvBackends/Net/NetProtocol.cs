namespace XenDM.PvBackends.Net;

/// <summary>Numbers of xen/public/io/netif.h.</summary>
internal static class NetProtocol
{
    /// <summary>Bytes of requests to send, and of the room that a ring has for each.</summary>
    public const int TxSlot = 12;

    /// <summary>Bytes of offers of room to receive into, and of the responses to them.</summary>
    public const int RxSlot = 8;
    public const int TxResponse = 4;

    public const ushort TxChecksumBlank = 1;
    public const ushort TxDataValidated = 2;
    public const ushort TxMoreData = 4;
    public const ushort TxExtra = 8;

    public const ushort RxDataValidated = 1;
    public const ushort RxChecksumBlank = 2;
    public const ushort RxMoreData = 4;
    public const ushort RxExtra = 8;

    public const short Okay = 0;
    public const short Error = -1;
    public const short Null = 1;

    public const byte ExtraSegmentation = 1;
    public const byte ExtraMulticastAdd = 2;
    public const byte ExtraMulticastRemove = 3;
    public const byte ExtraHash = 4;
    public const byte ExtraMore = 1;
    public const byte SegmentationTcp4 = 1;
    public const byte SegmentationTcp6 = 2;

    /// <summary>Pieces of data of one packet. Every backend takes 18, and front ends keep to it but for old ones, which had one or two more.</summary>
    public const int MaxPieces = 20;

    /// <summary>Extra infos of one packet: one of each type.</summary>
    public const int MaxExtras = 4;

    /// <summary>From a guest: the field for a packet's length has 16 bits.</summary>
    public const int MaxSent = 65535;

    /// <summary>To a guest: 64 KiB of IP behind an Ethernet header with two tags; each piece has a length of its own.</summary>
    public const int MaxReceived = 65535 + EthernetHeader + 8;
    public const int EthernetHeader = 14;
    public const int PageBytes = 4096;
}
